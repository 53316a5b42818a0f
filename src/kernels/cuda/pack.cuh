// Packs of neighbouring elements: 16 bytes (or one element, where nothing is aligned) read and
// written at once, floats in between.
#pragma once

#include <cstdint>

#include "kernels/cuda/launch.cuh"

namespace hypenet::kernels::cuda {

template <int kBytes>
struct PackStorage;
template <>
struct PackStorage<2> {
  using Type = unsigned short;
};
template <>
struct PackStorage<4> {
  using Type = unsigned int;
};
template <>
struct PackStorage<8> {
  using Type = uint2;
};
template <>
struct PackStorage<16> {
  using Type = uint4;
};

/// kWidth elements of type T (float or __nv_bfloat16), at most 16 bytes.
template <class T, int kWidth>
struct Pack {
  typename PackStorage<kWidth * sizeof(T)>::Type bits = {};
};

/// The elements of pack number `index` of an array that the kernel ahead may have written. From L2:
/// in a kernel that was launched early the near cache may remember what stood there before.
template <class T, int kWidth>
__device__ __forceinline__ Pack<T, kWidth> load_pack(const void* array, int64_t index) {
  using Bits = typename PackStorage<kWidth * sizeof(T)>::Type;
  return {__ldcg(static_cast<const Bits*>(array) + index)};
}

/// The same of an array that no kernel writes meanwhile: parameters.
template <class T, int kWidth>
__device__ __forceinline__ Pack<T, kWidth> load_constants(const void* array, int64_t index) {
  using Bits = typename PackStorage<kWidth * sizeof(T)>::Type;
  return {__ldg(static_cast<const Bits*>(array) + index)};
}

template <class T, int kWidth>
__device__ __forceinline__ void store_pack(void* array, int64_t index,
                                           const Pack<T, kWidth>& pack) {
  using Bits = typename PackStorage<kWidth * sizeof(T)>::Type;
  static_cast<Bits*>(array)[index] = pack.bits;
}

template <class T, int kWidth>
__device__ __forceinline__ void unpack(const Pack<T, kWidth>& pack, float (&x)[kWidth]) {
  const T* const elements = reinterpret_cast<const T*>(&pack.bits);
#pragma unroll
  for (int i = 0; i < kWidth; ++i) x[i] = static_cast<float>(elements[i]);
}

/// Rounds to nearest.
template <class T, int kWidth>
__device__ __forceinline__ Pack<T, kWidth> pack_of(const float (&x)[kWidth]) {
  Pack<T, kWidth> pack;
  if constexpr (sizeof(T) == 4) {
    float* const elements = reinterpret_cast<float*>(&pack.bits);
#pragma unroll
    for (int i = 0; i < kWidth; ++i) elements[i] = x[i];
  } else if constexpr (kWidth == 1) {
    *reinterpret_cast<__nv_bfloat16*>(&pack.bits) = __float2bfloat16_rn(x[0]);
  } else {
    __nv_bfloat162* const pairs = reinterpret_cast<__nv_bfloat162*>(&pack.bits);
#pragma unroll
    for (int i = 0; i < kWidth / 2; ++i) pairs[i] = __floats2bfloat162_rn(x[2 * i], x[2 * i + 1]);
  }
  return pack;
}

/// Elements index * kWidth .. of an array of either type, for parameters: all threads take the same
/// branch. kWidth is 1, 4 or 8.
template <int kWidth>
__device__ __forceinline__ void load_floats(const void* array, DType type, int64_t index,
                                            float (&x)[kWidth]) {
  if (type == DType::kBFloat16) {
    unpack(load_constants<__nv_bfloat16, kWidth>(array, index), x);
  } else if constexpr (kWidth == 8) {
    float low[4], high[4];
    unpack(load_constants<float, 4>(array, 2 * index), low);
    unpack(load_constants<float, 4>(array, 2 * index + 1), high);
#pragma unroll
    for (int i = 0; i < 4; ++i) x[i] = low[i], x[4 + i] = high[i];
  } else {
    unpack(load_constants<float, kWidth>(array, index), x);
  }
}

/// Writes x to elements index * kWidth .. of an array of floats. kWidth is 1, 4 or 8.
template <int kWidth>
__device__ __forceinline__ void store_floats(float* array, int64_t index,
                                             const float (&x)[kWidth]) {
  if constexpr (kWidth == 1) {
    array[index] = x[0];
  } else {
    float4* const quads = reinterpret_cast<float4*>(array) + index * (kWidth / 4);
#pragma unroll
    for (int i = 0; i < kWidth / 4; ++i) {
      quads[i] = make_float4(x[4 * i], x[4 * i + 1], x[4 * i + 2], x[4 * i + 3]);
    }
  }
}

/// Within 2e-7 of the exact value; 0 and 1 far out.
__device__ __forceinline__ float sigmoid(float x) { return __fdividef(1.0F, 1.0F + __expf(-x)); }

/// The sum over the `team` neighbouring lanes that a lane belongs to, a power of two up to 32;
/// every lane of the team gets the same bits. All lanes of the warp take part.
__device__ __forceinline__ float lanes_sum(float x, int team) {
  for (int offset = team / 2; offset > 0; offset /= 2) x += __shfl_xor_sync(~0U, x, offset);
  return x;
}

/// Whether 16-byte packs may be read from all of these; null pointers do not count.
template <class... Pointers>
bool is_aligned(const Pointers*... pointers) {
  return (... && (reinterpret_cast<uintptr_t>(pointers) % 16 == 0));
}

}  // namespace hypenet::kernels::cuda
