// The thread-local state behind simt.h.
#include "simt.h"

extern "C" {
__thread RoclSimt rocl_simt;
RoclSimt* rocl_simt_state() { return &rocl_simt; }
}
