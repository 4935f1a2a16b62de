// NVML and NVTX as far as the program asks them. A card that runs at 1500 MHz and below, takes 300 W, uses 60 J between two looks at its
// counter, and is held back by its power cap; it does not tell its temperature. Ranges are written down as they begin and end.

#include <cstring>
#include <mutex>
#include <string>

#define EXPORT extern "C" __attribute__((visibility("default")))

static int sm_clock = 1530;
static unsigned long long energy = 1000;
static std::mutex lock;
static std::string ranges;

enum { OK = 0, NOT_SUPPORTED = 3, NOT_FOUND = 6 };

EXPORT int nvmlInit_v2() { return OK; }
EXPORT int nvmlShutdown() { return OK; }
EXPORT const char* nvmlErrorString(int) { return "an error of the fake"; }
EXPORT int nvmlSystemGetDriverVersion(char* version, unsigned length) {
    strncpy(version, "580.1.2", length);
    return OK;
}
EXPORT int nvmlDeviceGetHandleByPciBusId_v2(const char* id, void** device) {
    *device = &energy;
    return strcmp(id, "00000000:00:00.0") == 0 ? OK : NOT_FOUND;
}
EXPORT int nvmlDeviceGetClockInfo(void*, int type, unsigned* mhz) {
    // 1 is the multiprocessors, 2 the memory.
    *mhz = type == 1 ? (unsigned)(sm_clock -= sm_clock > 1470 ? 30 : 0) : 3000u;
    return OK;
}
EXPORT int nvmlDeviceGetPowerUsage(void*, unsigned* milliwatts) {
    *milliwatts = 300000;
    return OK;
}
EXPORT int nvmlDeviceGetTotalEnergyConsumption(void*, unsigned long long* millijoules) {
    *millijoules = energy += 60000;
    return OK;
}
EXPORT int nvmlDeviceGetTemperature(void*, int, unsigned*) { return NOT_SUPPORTED; }
EXPORT int nvmlDeviceGetCurrentClocksThrottleReasons(void*, unsigned long long* reasons) {
    // Idle, and the power cap.
    *reasons = 0x1 | 0x4;
    return OK;
}

EXPORT int nvtxRangePushA(const char* name) {
    std::lock_guard<std::mutex> hold(lock);
    ranges += std::string("+") + name;
    return 0;
}
EXPORT int nvtxRangePop() {
    std::lock_guard<std::mutex> hold(lock);
    ranges += "-";
    return 0;
}
// What was written down, once.
EXPORT void fake_ranges(char* out, unsigned length) {
    std::lock_guard<std::mutex> hold(lock);
    strncpy(out, ranges.c_str(), length - 1);
    ranges.clear();
}
