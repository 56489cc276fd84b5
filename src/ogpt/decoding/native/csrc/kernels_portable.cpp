// Whatever the compiler makes of the vectors: SSE2, NEON, or plain numbers.
#include <stdint.h>
#define OGPT_LANES 4
#define OGPT_ROWS 2
#define OGPT_SUMS 8
#define OGPT_BYTE_ROWS 2
#define OGPT_BYTE_SUMS 8
#include "pieces.inc"
#include "kernels_body.inc"

namespace ogpt {
namespace {
bool available() { return true; }
}
const Kernels kPortable{"portable", available, row_bytes, narrow,  multiply,
                        activate, add_norm,  attend,    summarize};
}  // namespace ogpt
