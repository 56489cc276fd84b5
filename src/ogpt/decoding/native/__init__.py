"""The native CPU decoder: a C++ core (`csrc/`), its ctypes interface, and the Decoder over it."""
