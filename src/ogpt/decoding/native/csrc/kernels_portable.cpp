// Whatever the compiler makes of the vectors: SSE2, NEON, or plain numbers.
#include <stdint.h>
#define OGPT_ROWS 2
#define OGPT_VECTORS 1
#include "kernels_body.inc"

namespace ogpt {
namespace {
bool available() { return true; }
}
const Kernels kPortable{"portable", available, narrow, multiply, activate, add_norm, attend};
}  // namespace ogpt
