// What the compiler calls at every access to memory in code that was compiled with -fsanitize=thread. Of ThreadSanitizer only these calls are
// used; they go to the watcher in src/device/host/access.
#include "host/simt.h"

extern "C" {
// A thread of the running block accesses memory. `instruction` tells the accesses of a kernel's source apart.
void rocl_access(uint32_t thread, uint64_t address, uint32_t bytes, uint32_t write, uint64_t instruction);

#define ROCL_NOTE(bytes, write) \
    rocl_access(threadIdx.x, (uint64_t)address, bytes, write, (uint64_t)__builtin_return_address(0))
#define ROCL_HOOKS(bytes) \
    void __tsan_read##bytes(void* address) { ROCL_NOTE(bytes, 0); } \
    void __tsan_write##bytes(void* address) { ROCL_NOTE(bytes, 1); } \
    void __tsan_unaligned_read##bytes(void* address) { ROCL_NOTE(bytes, 0); } \
    void __tsan_unaligned_write##bytes(void* address) { ROCL_NOTE(bytes, 1); }

ROCL_HOOKS(1)
ROCL_HOOKS(2)
ROCL_HOOKS(4)
ROCL_HOOKS(8)
ROCL_HOOKS(16)
void __tsan_read_range(void* address, unsigned long bytes) { ROCL_NOTE((uint32_t)bytes, 0); }
void __tsan_write_range(void* address, unsigned long bytes) { ROCL_NOTE((uint32_t)bytes, 1); }
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_init() {}
}
