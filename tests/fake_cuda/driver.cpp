// A CUDA driver for tests on a machine without a GPU: the functions of libcuda that the program calls.
//
// Device memory is ordinary memory, and a kernel is whatever the test's `run` does with a symbol, a grid and arguments. As on a GPU
// nothing runs when it is launched: a stream is a list of things to do, done as late as the interface allows, when something waits for
// them. A buffer that is used again too early, or a result that is read too early, therefore shows.
//
// What it pretends to be, and which call fails how, is set per thread by `fake_cuda_set`, or for a whole process by the environment
// variable FAKE_CUDA: "devices=0", "version=11040", "capability=61", "free=3" (MiB), "cuMemAlloc_v2=2",
// comma-separated. "kernel=NAME" lets a kernel fail when it is run, "put=1" a library's call.
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <mutex>
#include <sstream>
#include <string>
#include <vector>

#define EXPORT extern "C" __attribute__((visibility("default")))
using CUresult = unsigned;
using Address = unsigned long long;

enum : CUresult {
    SUCCESS = 0,
    INVALID_VALUE = 1,
    OUT_OF_MEMORY = 2,
    NO_DEVICE = 100,
    INVALID_DEVICE = 101,
    INVALID_CONTEXT = 201,
    NOT_FOUND = 500,
    ILLEGAL_ADDRESS = 700,
    NOT_SUPPORTED = 801,
    STREAM_CAPTURE_UNSUPPORTED = 900,
    STREAM_CAPTURE_INVALIDATED = 901,
};

// The test's side: how many arguments the kernel of that symbol takes (negative: there is none), and running it; nonzero means failure.
struct Host {
    int (*parameters)(const char* symbol);
    int (*run)(const char* symbol, unsigned blocks, unsigned threads, const uint64_t* arguments, int count);
};
static Host host = {};

using Settings = std::map<std::string, std::string>;
static Settings parse(const char* text) {
    Settings settings;
    std::stringstream list(text ? text : "");
    for (std::string item; std::getline(list, item, ',');) {
        size_t equals = item.find('=');
        if (equals != std::string::npos) settings[item.substr(0, equals)] = item.substr(equals + 1);
    }
    return settings;
}
static thread_local Settings settings = parse(getenv("FAKE_CUDA"));

static long setting(const char* name, long otherwise) {
    auto found = settings.find(name);
    return found == settings.end() ? otherwise : strtol(found->second.c_str(), nullptr, 10);
}

// The first line of every function that may be asked to fail.
#define MAY_FAIL                                                             \
    if (long code = setting(__func__, 0)) return (CUresult)code

struct Context {
    int device;
};
static Context contexts[8] = {{0}, {1}, {2}, {3}, {4}, {5}, {6}, {7}};
static thread_local Context* current = nullptr;

using Task = std::function<CUresult()>;
struct Graph {
    std::vector<Task> tasks;
};
struct Stream {
    std::vector<Task> tasks;
    Context* context = current;
    Graph* capture = nullptr;
    // Something was done that a capture does not hold.
    bool spoilt = false;
    uint64_t done = 0;
    // An error stays: everything afterwards fails with it.
    CUresult error = SUCCESS;

    uint64_t end() const { return done + tasks.size(); }
    CUresult put(Task task) {
        if (error) return error;
        if (current != context) return INVALID_CONTEXT;
        (capture ? capture->tasks : tasks).push_back(std::move(task));
        return SUCCESS;
    }
    CUresult spoil() {
        spoilt = true;
        return STREAM_CAPTURE_UNSUPPORTED;
    }
    // Does everything up to a point.
    CUresult wait(uint64_t until) {
        if (capture) return spoil();
        size_t count = until > done ? (size_t)(until - done) : 0;
        for (size_t i = 0; i < count && !error; ++i) error = tasks[i]();
        tasks.erase(tasks.begin(), tasks.begin() + (error ? tasks.size() : count));
        done += count;
        return error;
    }
};
// The stream whose launches this thread captures: memory must not come and go meanwhile.
static thread_local Stream* capturing = nullptr;

struct Event {
    Stream* stream = nullptr;
    uint64_t position = 0;
};
struct Module {
    std::vector<struct Function*> functions;
};
struct Function {
    std::string symbol;
    int parameters;
};
EXPORT void fake_cuda_host(Host given) { host = given; }
EXPORT void fake_cuda_set(const char* text) { settings = parse(text); }

EXPORT CUresult cuInit(unsigned) {
    MAY_FAIL;
    return setting("devices", 1) ? SUCCESS : NO_DEVICE;
}
EXPORT CUresult cuDriverGetVersion(int* version) {
    MAY_FAIL;
    *version = (int)setting("version", 12040);
    return SUCCESS;
}
EXPORT CUresult cuGetErrorName(CUresult error, const char** name) {
    switch (error) {
    case OUT_OF_MEMORY: *name = "CUDA_ERROR_OUT_OF_MEMORY"; break;
    case NO_DEVICE: *name = "CUDA_ERROR_NO_DEVICE"; break;
    case ILLEGAL_ADDRESS: *name = "CUDA_ERROR_ILLEGAL_ADDRESS"; break;
    case STREAM_CAPTURE_INVALIDATED: *name = "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED"; break;
    case STREAM_CAPTURE_UNSUPPORTED: *name = "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED"; break;
    default: *name = "CUDA_ERROR_OF_THE_FAKE"; break;
    }
    return SUCCESS;
}
EXPORT CUresult cuGetErrorString(CUresult, const char** text) {
    *text = "as the test asked for";
    return SUCCESS;
}

EXPORT CUresult cuDeviceGetCount(int* count) {
    MAY_FAIL;
    *count = (int)setting("devices", 1);
    return SUCCESS;
}
EXPORT CUresult cuDeviceGet(int* device, int ordinal) {
    MAY_FAIL;
    if (ordinal < 0 || ordinal >= setting("devices", 1)) return INVALID_DEVICE;
    *device = ordinal;
    return SUCCESS;
}
EXPORT CUresult cuDeviceGetName(char* name, int length, int) {
    strncpy(name, "Fake GPU", (size_t)length);
    return SUCCESS;
}
EXPORT CUresult cuDeviceTotalMem_v2(size_t* bytes, int) {
    *bytes = (size_t)8 << 30;
    return SUCCESS;
}
EXPORT CUresult cuDeviceGetAttribute(int* value, int attribute, int) {
    int capability = (int)setting("capability", 90);
    switch (attribute) {
    // Few, so that every loop of a kernel goes round more than once.
    case 16: *value = 1; break;
    case 75: *value = capability / 10; break;
    case 76: *value = capability % 10; break;
    default: *value = 0; break;
    }
    return SUCCESS;
}

EXPORT CUresult cuDevicePrimaryCtxRetain(Context** context, int device) {
    MAY_FAIL;
    *context = &contexts[device];
    return SUCCESS;
}
EXPORT CUresult cuDevicePrimaryCtxRelease_v2(int) { return SUCCESS; }
EXPORT CUresult cuCtxGetCurrent(Context** context) {
    *context = current;
    return SUCCESS;
}
EXPORT CUresult cuCtxSetCurrent(Context* context) {
    current = context;
    return SUCCESS;
}

// Every allocation begins with garbage, as on a GPU.
static void* garbage(size_t bytes) {
    void* start = aligned_alloc(256, (bytes + 255) / 256 * 256);
    if (start) memset(start, 0xcd, bytes);
    return start;
}

// What is allocated, and what no longer is: work that comes to memory after it was freed fails, as a GPU is free to let it.
class Ranges {
    std::mutex mutex;
    std::map<Address, size_t> live, freed;

    static bool overlap(Address a, size_t a_bytes, Address b, size_t b_bytes) { return a < b + b_bytes && b < a + a_bytes; }

public:
    void add(Address start, size_t bytes) {
        std::lock_guard<std::mutex> lock(mutex);
        live[start] = bytes;
        for (auto range = freed.begin(); range != freed.end();) {
            range = overlap(range->first, range->second, start, bytes) ? freed.erase(range) : std::next(range);
        }
    }
    size_t remove(Address start) {
        std::lock_guard<std::mutex> lock(mutex);
        auto range = live.find(start);
        if (range == live.end()) abort();
        freed.insert(*range);
        size_t bytes = range->second;
        live.erase(range);
        return bytes;
    }
    bool holds(Address start, size_t bytes) {
        std::lock_guard<std::mutex> lock(mutex);
        auto next = live.upper_bound(start);
        if (next == live.begin()) return false;
        auto range = std::prev(next);
        return start + bytes <= range->first + range->second;
    }
    // Of an argument one cannot tell whether it is an address; but a number is none that was an address lately.
    bool is_freed(Address argument) {
        std::lock_guard<std::mutex> lock(mutex);
        auto next = freed.upper_bound(argument);
        if (next == freed.begin()) return false;
        auto range = std::prev(next);
        return argument < range->first + range->second;
    }
};
static Ranges& memory() {
    // Never destroyed: threads may outlive the statics.
    static Ranges* ranges = new Ranges;
    return *ranges;
}
// What this thread has allocated, at most, and how often it has read from the device.
struct Counts {
    size_t allocated, most_allocated, reads;
};
static thread_local Counts counts = {};
EXPORT void fake_cuda_count(Counts* given) {
    *given = counts;
    counts.most_allocated = counts.allocated;
}
EXPORT CUresult cuMemAlloc_v2(Address* address, size_t bytes) {
    MAY_FAIL;
    if (!current) return INVALID_CONTEXT;
    if (capturing) return capturing->spoil();
    void* allocated = bytes ? garbage(bytes) : nullptr;
    if (!allocated) return bytes ? OUT_OF_MEMORY : INVALID_VALUE;
    *address = (Address)allocated;
    memory().add(*address, bytes);
    counts.allocated += bytes;
    if (counts.allocated > counts.most_allocated) counts.most_allocated = counts.allocated;
    return SUCCESS;
}
EXPORT CUresult cuMemFree_v2(Address address) {
    if (capturing) return capturing->spoil();
    counts.allocated -= memory().remove(address);
    free((void*)address);
    return SUCCESS;
}
EXPORT CUresult cuMemGetInfo_v2(size_t* available, size_t* total) {
    *available = (size_t)setting("free", 1024) << 20;
    *total = (size_t)8 << 30;
    return SUCCESS;
}
EXPORT CUresult cuMemHostAlloc(void** memory, size_t bytes, unsigned) {
    MAY_FAIL;
    *memory = garbage(bytes);
    return *memory ? SUCCESS : OUT_OF_MEMORY;
}
EXPORT CUresult cuMemFreeHost(void* memory) {
    free(memory);
    return SUCCESS;
}

// For libraries that tests put in the place of NVIDIA's: something to be done in a stream's order, which may fail, and whether a range is allocated.
EXPORT CUresult fake_cuda_put(Stream* stream, int (*task)(void*), void* data) {
    bool fails = setting("put", 0);
    return stream->put([=]() -> CUresult { return fails || task(data) ? ILLEGAL_ADDRESS : SUCCESS; });
}
EXPORT int fake_cuda_holds(Address start, size_t bytes) { return memory().holds(start, bytes); }

// Which sides of a copy are device memory.
enum Sides { TO, FROM, BOTH };
static CUresult copy(Address to, Address from, size_t bytes, Sides sides, Stream* stream) {
    return stream->put([=]() -> CUresult {
        if (sides != FROM && !memory().holds(to, bytes)) return ILLEGAL_ADDRESS;
        if (sides != TO && !memory().holds(from, bytes)) return ILLEGAL_ADDRESS;
        memcpy((void*)to, (const void*)from, bytes);
        return SUCCESS;
    });
}
EXPORT CUresult cuMemcpyHtoDAsync_v2(Address to, const void* from, size_t bytes, Stream* stream) {
    MAY_FAIL;
    return copy(to, (Address)from, bytes, TO, stream);
}
EXPORT CUresult cuMemcpyDtoHAsync_v2(void* to, Address from, size_t bytes, Stream* stream) {
    MAY_FAIL;
    ++counts.reads;
    return copy((Address)to, from, bytes, FROM, stream);
}
EXPORT CUresult cuMemcpyDtoDAsync_v2(Address to, Address from, size_t bytes, Stream* stream) {
    MAY_FAIL;
    return copy(to, from, bytes, BOTH, stream);
}
EXPORT CUresult cuMemsetD8Async(Address to, unsigned char value, size_t bytes, Stream* stream) {
    MAY_FAIL;
    return stream->put([=]() -> CUresult {
        if (!memory().holds(to, bytes)) return ILLEGAL_ADDRESS;
        memset((void*)to, value, bytes);
        return SUCCESS;
    });
}

EXPORT CUresult cuStreamCreate(Stream** stream, unsigned) {
    MAY_FAIL;
    *stream = new Stream;
    return SUCCESS;
}
EXPORT CUresult cuStreamDestroy_v2(Stream* stream) {
    if (capturing == stream) capturing = nullptr;
    delete stream;
    return SUCCESS;
}
EXPORT CUresult cuStreamSynchronize(Stream* stream) { return stream->wait(stream->end()); }

EXPORT CUresult cuEventCreate(Event** event, unsigned) {
    MAY_FAIL;
    *event = new Event;
    return SUCCESS;
}
EXPORT CUresult cuEventDestroy_v2(Event* event) {
    delete event;
    return SUCCESS;
}
EXPORT CUresult cuEventRecord(Event* event, Stream* stream) {
    if (stream->capture) return stream->spoil();
    *event = {stream, stream->end()};
    return SUCCESS;
}
// A thing to do takes a millisecond.
EXPORT CUresult cuEventElapsedTime(float* milliseconds, Event* start, Event* end) {
    MAY_FAIL;
    *milliseconds = (float)(end->position - start->position);
    return SUCCESS;
}
EXPORT CUresult cuEventSynchronize(Event* event) { return event->stream ? event->stream->wait(event->position) : SUCCESS; }

EXPORT CUresult cuModuleLoadData(Module** module, const void*) {
    MAY_FAIL;
    *module = new Module;
    return SUCCESS;
}
EXPORT CUresult cuModuleUnload(Module* module) {
    for (Function* function : module->functions) delete function;
    delete module;
    return SUCCESS;
}
EXPORT CUresult cuModuleGetFunction(Function** function, Module* module, const char* symbol) {
    MAY_FAIL;
    int parameters = host.parameters ? host.parameters(symbol) : 0;
    if (parameters < 0) return NOT_FOUND;
    *function = new Function{symbol, parameters};
    module->functions.push_back(*function);
    return SUCCESS;
}
EXPORT CUresult cuLaunchKernel(Function* function, unsigned blocks, unsigned blocks_y, unsigned blocks_z, unsigned threads, unsigned threads_y,
                               unsigned threads_z, unsigned, Stream* stream, void** arguments, void**) {
    MAY_FAIL;
    if (!blocks || !threads || threads > 1024 || blocks_y * blocks_z * threads_y * threads_z != 1) return INVALID_VALUE;
    // As the driver does: arguments are copied now.
    std::vector<uint64_t> copied;
    for (int i = 0; i < function->parameters; ++i) copied.push_back(*(const uint64_t*)arguments[i]);
    bool fails = settings.count("kernel") && function->symbol.rfind(settings["kernel"], 0) == 0;
    std::string symbol = function->symbol;
    return stream->put([=]() -> CUresult {
        if (fails) return ILLEGAL_ADDRESS;
        for (uint64_t argument : copied) {
            if (memory().is_freed(argument)) return ILLEGAL_ADDRESS;
        }
        return host.run && host.run(symbol.c_str(), blocks, threads, copied.data(), (int)copied.size()) ? ILLEGAL_ADDRESS : SUCCESS;
    });
}

EXPORT CUresult cuStreamBeginCapture_v2(Stream* stream, int) {
    MAY_FAIL;
    stream->capture = new Graph;
    stream->spoilt = false;
    capturing = stream;
    return SUCCESS;
}
EXPORT CUresult cuStreamEndCapture(Stream* stream, Graph** graph) {
    *graph = stream->capture;
    stream->capture = nullptr;
    capturing = nullptr;
    CUresult outcome = stream->spoilt ? STREAM_CAPTURE_INVALIDATED : (CUresult)setting(__func__, 0);
    if (outcome) {
        delete *graph;
        *graph = nullptr;
    }
    return outcome;
}
EXPORT CUresult cuGraphInstantiateWithFlags(Graph** executable, Graph* graph, unsigned long long) {
    MAY_FAIL;
    *executable = new Graph(*graph);
    return SUCCESS;
}
EXPORT CUresult cuGraphLaunch(Graph* executable, Stream* stream) {
    MAY_FAIL;
    // One after the other, since a capture takes launches only.
    for (const Task& task : executable->tasks) {
        if (CUresult error = stream->put(task)) return error;
    }
    return SUCCESS;
}
EXPORT CUresult cuGraphExecDestroy(Graph* executable) {
    delete executable;
    return SUCCESS;
}
EXPORT CUresult cuGraphDestroy(Graph* graph) {
    delete graph;
    return SUCCESS;
}

// What a real cuDNN looks for when it is loaded beside this driver, with a line on standard error for each function that is missing. Nothing here
// calls them.
#define ABSENT(name) \
    EXPORT CUresult name() { return NOT_SUPPORTED; }
ABSENT(cuCtxGetLimit)
ABSENT(cuCtxPopCurrent)
ABSENT(cuCtxPushCurrent)
ABSENT(cuKernelGetAttribute)
ABSENT(cuKernelSetAttribute)
ABSENT(cuLaunchCooperativeKernel)
ABSENT(cuLaunchKernelEx)
ABSENT(cuLibraryGetKernel)
ABSENT(cuLibraryLoadData)
ABSENT(cuLibraryLoadFromFile)
ABSENT(cuLibraryUnload)
ABSENT(cuLinkAddData)
ABSENT(cuLinkComplete)
ABSENT(cuLinkCreate)
ABSENT(cuLinkDestroy)
ABSENT(cuOccupancyMaxPotentialClusterSize)
ABSENT(cuStreamGetCtx)
