// The integer product of packed weights: four unsigned codes of each row of a group with four
// signed ones of a row of x. Instructions are written out, as no function attribute suits templates
// that are inlined into functions for several processors.
#pragma once

#include <cstdint>

#include "kernels/cpu/instructions.h"
#include "kernels/cpu/lanes.h"

namespace hypenet::kernels {

/// L signed words: a register of the machine.
template <int L>
using Integers = decltype(Vector<L>{} < Vector<L>{});

struct FourCodes {
  int8_t codes[4];
};

/// sums += the products of each word's four codes with those of x. kBits: of the codes at most.
template <int kBits>
HYPENET_INLINE void add_products(Integers<4>& sums, const Words<4>& words, const FourCodes& x) {
#pragma GCC unroll 4
  for (int j = 0; j < 4; ++j) {
    sums += reinterpret_cast<Integers<4>>((words >> (8 * j)) & 255U) * int32_t{x.codes[j]};
  }
}

#ifdef HYPENET_INSTRUCTIONS
#define HYPENET_BYTE_DOTS __attribute__((target("arch=x86-64-v4,avx512vnni")))
template <int kBits>
HYPENET_INLINE void add_products(Integers<16>& sums, const Words<16>& words, const FourCodes& x) {
  asm("vpdpbusd %2%{1to16%}, %1, %0" : "+v"(sums) : "v"(words), "m"(x));
}

/// sums += factor times the products, which are summed in pairs in 16 bits.
HYPENET_INLINE void add_pairs(Integers<8>& sums, const Words<8>& words, const Words<8>& x,
                              uint32_t factor) {
  const Words<8> factors = Words<8>{} + factor * 0x10001U;
  Integers<8> pairs;
  asm("vpmaddubsw %2, %1, %0" : "=v"(pairs) : "v"(words), "v"(x));
  asm("vpmaddwd %1, %0, %0" : "+v"(pairs) : "v"(factors));
  sums += pairs;
}

/// Of codes of eight bits a pair would not fit into 16: they go as the upper seven and the last.
template <int kBits>
HYPENET_INLINE void add_products(Integers<8>& sums, const Words<8>& words, const FourCodes& x) {
  Words<8> four;
  asm("vpbroadcastd %1, %0" : "=v"(four) : "m"(x));
  if (kBits < 8) return add_pairs(sums, words, four, 1);
  add_pairs(sums, (words >> 1) & 0x7F7F7F7FU, four, 2);
  add_pairs(sums, words & 0x01010101U, four, 1);
}
#endif

/// Whether the machine has the instruction of 16 lanes, vpdpbusd.
inline bool has_products_of_16() {
#ifdef HYPENET_INSTRUCTIONS
  static const bool kHasThem = lanes() == 16 && __builtin_cpu_supports("avx512vnni");
  return kHasThem;
#else
  return false;
#endif
}

}  // namespace hypenet::kernels
