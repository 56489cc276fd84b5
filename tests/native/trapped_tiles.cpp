// Intel's tile instructions for processors that have none: linked into a program, this catches the
// trap of each one and does its work, by the pseudocode of Intel's manual. It reads the machine code,
// so encodings are tested too. Linked with -Wl,--wrap=syscall it answers for Linux when tiles are
// asked for: yes, or no where OGPT_REFUSE_TILES is set. Where there are tiles nothing traps, and what
// is tested with them is the processor.
#include <errno.h>
#include <immintrin.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

namespace {

[[noreturn]] void refuse(const char* what) {  // where the processor would raise an exception
  fprintf(stderr, "tiles: %s\n", what);
  _exit(3);
}

struct Tile {
  int rows = 0, bytes = 0;
  uint32_t data[16][16];
};
thread_local Tile tiles[8];
thread_local bool configured;

void configure(const uint8_t* config) {
  if (config[0] != 1 || config[1] != 0) refuse("palette or start row");
  for (int i = 2; i < 16; ++i)
    if (config[i]) refuse("reserved bytes of a configuration");
  for (int t = 0; t < 16; ++t) {
    uint16_t bytes;
    memcpy(&bytes, config + 16 + 2 * t, 2);
    const int rows = config[48 + t];
    if (t >= 8 ? rows || bytes : rows > 16 || bytes > 64 || !rows != !bytes) refuse("shape");
    if (t >= 8) continue;
    tiles[t].rows = rows;
    tiles[t].bytes = bytes;
    memset(tiles[t].data, 0, sizeof tiles[t].data);
  }
  configured = true;
}

Tile& tile_of(int t) {
  if (t > 7 || !configured || !tiles[t].rows) refuse("a tile that is not configured");
  return tiles[t];
}

void load(Tile& tile, const uint8_t* from, int64_t stride) {
  memset(tile.data, 0, sizeof tile.data);
  for (int r = 0; r < tile.rows; ++r) memcpy(tile.data[r], from + r * stride, size_t(tile.bytes));
}

void store(const Tile& tile, uint8_t* to, int64_t stride) {
  for (int r = 0; r < tile.rows; ++r) memcpy(to + r * stride, tile.data[r], size_t(tile.bytes));
}

float as_float(uint32_t bits) {
  float x;
  memcpy(&x, &bits, 4);
  return x;
}

// Apart, so that the arithmetic stays between the settings of MXCSR.
__attribute__((noinline, target("avx2,fma"))) void dot_row(const uint32_t* a, const Tile& b,
                                                            int pairs, uint32_t* sum) {
  float even[16] = {}, odd[16] = {}, out[16];
  for (int k = 0; k < pairs; ++k)
    for (int n = 0; n < 16; ++n) {
      even[n] = __builtin_fmaf(as_float(a[k] << 16), as_float(b.data[k][n] << 16), even[n]);
      odd[n] = __builtin_fmaf(as_float(a[k] & 0xffff0000u), as_float(b.data[k][n] & 0xffff0000u),
                              odd[n]);
    }
  memcpy(out, sum, sizeof out);
  for (int n = 0; n < 16; ++n) out[n] += even[n] + odd[n];
  memcpy(sum, out, sizeof out);
}

// TDPBF16PS: denormals are zeros, whatever MXCSR says.
void dot_bfloat16(Tile& to, const Tile& a, const Tile& b) {
  const unsigned before = _mm_getcsr();
  _mm_setcsr(0x1f80 | 0x8040);  // nothing raised, to nearest even, denormals are zeros, flushed to zero
  for (int m = 0; m < to.rows; ++m) dot_row(a.data[m], b, b.rows, to.data[m]);
  _mm_setcsr(before);
}

// TDPBSSD, TDPBSUD, TDPBUSD, TDPBUUD: which of a and b are signed.
void dot_bytes(Tile& to, const Tile& a, const Tile& b, bool a_signed, bool b_signed) {
  auto byte = [](uint32_t four, int i, bool is_signed) {
    const uint8_t x = uint8_t(four >> (8 * i));
    return is_signed ? int32_t(int8_t(x)) : int32_t(x);
  };
  for (int m = 0; m < to.rows; ++m)
    for (int k = 0; k < b.rows; ++k)
      for (int n = 0; n < b.bytes / 4; ++n)
        for (int i = 0; i < 4; ++i)
          to.data[m][n] += uint32_t(byte(a.data[m][k], i, a_signed) *
                                    byte(b.data[k][n], i, b_signed));
}

// One instruction: VEX with three bytes, opcode, ModRM, an address.
struct Decoder {
  const uint8_t* code;
  const greg_t* registers;
  int vvvv, prefix, opcode, mod, reg, rm;
  bool r, x, b;

  bool decode() {
    if (code[0] != 0xc4 || (code[1] & 0x1f) != 2) return false;  // map 0F38
    r = !(code[1] & 0x80), x = !(code[1] & 0x40), b = !(code[1] & 0x20);
    if (code[2] & 0x84) return false;  // W, L
    vvvv = ~(code[2] >> 3) & 15;
    prefix = code[2] & 3;
    opcode = code[3];
    mod = code[4] >> 6, reg = code[4] >> 3 & 7, rm = code[4] & 7;
    code += 5;
    return opcode == 0x49 || opcode == 0x4b || opcode == 0x5c || opcode == 0x5e;
  }

  int64_t value(int number) const {
    static const int kPlaces[] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP,
                                  REG_RSI, REG_RDI, REG_R8,  REG_R9,  REG_R10, REG_R11,
                                  REG_R12, REG_R13, REG_R14, REG_R15};
    return registers[kPlaces[number]];
  }

  // Base and index of the address; `code` then stands behind the instruction.
  uint8_t* address(int64_t* index) {
    *index = 0;
    int64_t at = 0;
    if (mod == 3) refuse("a register for an address");
    bool relative = mod == 0 && rm == 5, no_base = false;
    if (rm == 4) {
      const int sib = *code++, number = (sib >> 3 & 7) + 8 * x;
      if (number != 4) *index = value(number) << (sib >> 6);
      no_base = mod == 0 && (sib & 7) == 5;
      if (!no_base) at = value((sib & 7) + 8 * b);
    } else if (!relative) {
      at = value(rm + 8 * b);
    }
    if (mod == 1) {
      at += int8_t(*code++);
    } else if (mod == 2 || relative || no_base) {
      int32_t far;
      memcpy(&far, code, 4);
      code += 4;
      at += far;
    }
    if (relative) at += int64_t(code);
    return reinterpret_cast<uint8_t*>(at);
  }

  // None, 66, F3, F2: prefixes 0 to 3.
  bool run() {
    int64_t index;
    if (opcode == 0x49 && mod == 3) {
      if (prefix == 0 && reg == 0 && rm == 0) {
        configured = false;
      } else if (prefix == 3 && rm == 0) {
        memset(tile_of(reg).data, 0, sizeof tiles[reg].data);
      } else {
        return false;
      }
    } else if (opcode == 0x49) {
      if (prefix != 0) return false;
      const uint8_t* at = address(&index);
      configure(at + index);
    } else if (opcode == 0x4b) {
      if (rm != 4) refuse("a tile's address without a stride");
      uint8_t* at = address(&index);
      if (prefix == 0) return false;
      if (prefix == 2)
        store(tile_of(reg), at, index);
      else
        load(tile_of(reg), at, index);
    } else {
      Tile &to = tile_of(reg), &first = tile_of(rm + 8 * b), &second = tile_of(vvvv);
      if (mod != 3 || &to == &first || &to == &second || &first == &second)
        refuse("tiles of a product");
      if (to.rows != first.rows || to.bytes != second.bytes || first.bytes / 4 != second.rows)
        refuse("shapes of a product");
      if (opcode == 0x5e) {
        dot_bytes(to, first, second, prefix >= 2, prefix == 3 || prefix == 1);
      } else {
        if (prefix != 2) return false;
        dot_bfloat16(to, first, second);
      }
    }
    return true;
  }
};

void trapped(int, siginfo_t*, void* context) {
  mcontext_t& machine = static_cast<ucontext_t*>(context)->uc_mcontext;
  Decoder decoder{};
  decoder.code = reinterpret_cast<const uint8_t*>(machine.gregs[REG_RIP]);
  decoder.registers = machine.gregs;
  if (!decoder.decode() || !decoder.run()) refuse("an instruction that is none of theirs");
  machine.gregs[REG_RIP] = greg_t(decoder.code);
}

__attribute__((constructor)) void install() {
  struct sigaction action = {};
  action.sa_sigaction = trapped;
  action.sa_flags = SA_SIGINFO | SA_NODEFER;
  sigaction(SIGILL, &action, nullptr);
}

}  // namespace

extern "C" {
long __real_syscall(long number, ...);

long __wrap_syscall(long number, ...) {
  va_list arguments;
  va_start(arguments, number);
  const long first = va_arg(arguments, long), second = va_arg(arguments, long);
  va_end(arguments);
  constexpr long kRequestPermission = 0x1023, kTileData = 18;
  if (number != SYS_arch_prctl || first != kRequestPermission || second != kTileData)
    refuse("another question to the system");
  if (getenv("OGPT_REFUSE_TILES")) {
    errno = EPERM;
    return -1;
  }
  __real_syscall(number, first, second);
  return 0;
}
}
