// The tensor core's m16n8k16 product of bfloat16 and what feeds it: asynchronous copies into
// swizzled shared memory and matrix loads out of it. sm_80 and newer.
#pragma once

#include <cuda_bf16.h>

#include <cstdint>

namespace hypenet::kernels {

/// Copies 16 bytes to shared memory, or zeros when `valid` is false.
__device__ __forceinline__ void copy_async(uint32_t shared, const void* global, bool valid) {
  const int bytes = valid ? 16 : 0;
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared), "l"(global),
               "r"(bytes)
               : "memory");
}

__device__ __forceinline__ void commit_copies() { asm volatile("cp.async.commit_group;"); }

/// Waits until at most kLeft of this thread's groups of copies are under way.
template <int kLeft>
__device__ __forceinline__ void wait_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kLeft) : "memory");
}

__device__ __forceinline__ uint32_t shared_address(const void* pointer) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(pointer));
}

/// Four 8x8 matrices; lane l gives the address of row l % 8 of matrix l / 8.
__device__ __forceinline__ void load_matrices(uint32_t (&r)[4], uint32_t address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(address)
               : "memory");
}

/// As load_matrices, each matrix transposed.
__device__ __forceinline__ void load_transposed(uint32_t (&r)[4], uint32_t address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(address)
               : "memory");
}

/// c [16, 8] += a [16, 16] b [16, 8]. With g = lane / 4 and t = lane % 4 a thread holds of c the
/// elements (g, 2t), (g, 2t+1), (g+8, 2t), (g+8, 2t+1); of a (g, 2t..), (g+8, 2t..), (g, 2t+8..),
/// (g+8, 2t+8..); of b (2t.., g), (2t+8.., g).
__device__ __forceinline__ void multiply_add(float (&c)[4], const uint32_t (&a)[4], uint32_t b0,
                                             uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
      "{%8, %9}, {%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

__device__ __forceinline__ uint32_t pack(float low, float high) {
  const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
  return *reinterpret_cast<const uint32_t*>(&pair);
}

/// Both halves of a pair times their factors, rounded once.
__device__ __forceinline__ uint32_t scale_pair(uint32_t pair, float low, float high) {
  return pack(__uint_as_float(pair << 16) * low, __uint_as_float(pair & 0xffff0000U) * high);
}

/// Byte offset of 16-byte piece `piece` of row `row` in a tile whose rows are kRowBytes long:
/// pieces trade places within their group of eight, so that eight rows of one column meet eight
/// banks.
template <int kRowBytes>
__device__ __forceinline__ uint32_t swizzled(int row, int piece) {
  return row * kRowBytes + ((piece ^ (row & 7)) << 4);
}

}  // namespace hypenet::kernels
