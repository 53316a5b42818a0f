// The chunks of a head from the last to the first, for dS. As in the forward all products are
// transposed, and a warp's dS^T is a left factor as it lies in its registers.
#include "kernels/cuda/delta_rule_chain.cuh"

namespace hypenet::kernels::cuda {
namespace {

template <int kSize, bool kChannels, int kRows, int kSplit>
__global__ void __launch_bounds__(32 * kRows * kSplit, 1)
    backward_kernel(const __grid_constant__ DeltaRuleBackwardWork backward, const int stages) {
  using G = Geometry<kSize, kChannels, false, kRows, kSplit>;
  extern __shared__ __align__(128) char shared[];
  const DeltaRuleWork work{backward.p.forward, backward.scratch};
  const DeltaScratch& scratch = backward.scratch;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, t = lane % 4;
  const int group = warp / kSplit, part = warp % kSplit;
  const int64_t head = blockIdx.x;
  const int slab = static_cast<int>(blockIdx.y) * G::kColumns, column = slab + 16 * group;
  const int first_channel = 16 * part * G::kOwnChannels;
  const uint32_t base = shared_address(shared);
  uint4* const told = reinterpret_cast<uint4*>(shared + stages * G::kStage) +
                      group * (G::kStateParts + 3 * G::kTokenParts) * 32;
  Told<G::kStateParts, kSplit> states{.all = told};
  Told<G::kTokenParts, kSplit> dwritten{.all = told + G::kStateParts * 32};
  Told<G::kTokenParts, kSplit> faded{.all = dwritten.all + G::kTokenParts * 32};

  float dstate[2 * G::kOwnChannels][4] = {};  // dS^T, [16 columns, channels]
  const int64_t matrix = head * kSize * kSize;
  if (backward.p.dfinal != nullptr) {
    for_each_element(dstate, first_channel, column, [&](float& x, int row, int col) {
      x = backward.p.dfinal[matrix + row * kSize + col];
    });
  }
  const auto ask = [&](int stage, int64_t chunk) {
    ask_chunk<G, kSize, kChannels, false>(work, base + stage * G::kStage, head, chunk,
                                          backward.p.doutput, slab);
  };
  for (int ahead = 0; ahead < stages - 1; ++ahead) ask(ahead, scratch.chunks - 1 - ahead);
  int stage = 0;
  for (int64_t chunk = scratch.chunks - 1; chunk >= 0; --chunk) {
#pragma unroll
    for (int i = 0; i < G::kOwnChannels; ++i) {
      left_from(states.own[i], dstate[2 * i], dstate[2 * i + 1]);
    }
    states.tell(part);
    wait_for_stage(stages);
    ask(stage == 0 ? stages - 1 : stage - 1, chunk - (stages - 1));
    const uint32_t at = base + stage * G::kStage;
    const float* const factors =
        reinterpret_cast<const float*>(shared + stage * G::kStage + G::kFactorsAt);
    stage = stage + 1 == stages ? 0 : stage + 1;
    const int64_t piece = head * scratch.chunks + chunk;
    const auto factor = [&](int which, int token) {
      return *reinterpret_cast<const float2*>(factors + which * kChunk + token + 2 * t);
    };
    const auto doutput = [&](uint32_t(&a)[4], int block) {
      const int token = 16 * block + lane % 8 + lane / 16 * 8;
      load_transposed(a,
                      at + G::kValues + token * G::kValueRow + 2 * (16 * group + lane / 8 % 2 * 8));
    };
    store_part<kSize>(scratch.dstates + piece * (2 * kSize * kSize), states.own, column,
                      first_channel);

    // dU = E dS + scale P^T do
    float sums[2 * G::kOwnTokens][4] = {};
#pragma unroll
    for (int d = 0; d < kSize / 16; ++d) {
      uint32_t a[4], b[4];
      states.get(a, d);
#pragma unroll
      for (int i = 0; i < G::kOwnTokens; ++i) {
        right_by_rows<kSize>(b, at + (kChannels ? G::kTails : G::kKeys), part * G::kOwnTokens + i,
                             d);
        multiply_pair(sums[2 * i], sums[2 * i + 1], a, b);
      }
    }
    if constexpr (!kChannels) {
#pragma unroll
      for (int n = 0; n < 2 * G::kOwnTokens; ++n) {
        scale_pairs(sums[n], factor(kTail, 16 * part * G::kOwnTokens + 8 * n));
      }
    }
    add_from<G>(sums, doutput, at + G::kScores, part);
#pragma unroll
    for (int i = 0; i < G::kOwnTokens; ++i) {
      left_from(dwritten.own[i], sums[2 * i], sums[2 * i + 1]);
    }
    dwritten.tell(part);
    meet<kSplit>(group);

    // Z = (I + L)^-T dU; what the state loses by it is k beta Z, with k as it met the state.
    float solved[2 * G::kOwnTokens][4] = {};
    const auto get = [&](uint32_t(&a)[4], int block) { dwritten.get(a, block); };
    add_from<G>(solved, get, at + G::kInverse, part);
#pragma unroll
    for (int i = 0; i < G::kOwnTokens; ++i) {
      const int token = 16 * (part * G::kOwnTokens + i);
      uint32_t x[4];
      left_from(x, solved[2 * i], solved[2 * i + 1]);
      store_by_token(scratch.drows + piece * G::kTile + 2 * column + token * (2 * kSize), 2 * kSize,
                     x, kChunk);
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        float2 lost = factor(kBeta, token + 8 * half);
        if constexpr (!kChannels) {
          const float2 gate = factor(kGate, token + 8 * half);
          lost.x *= gate.x, lost.y *= gate.y;
        }
        scale_pairs(solved[2 * i + half], make_float2(-lost.x, -lost.y));
      }
      left_from(faded.own[i], solved[2 * i], solved[2 * i + 1]);
    }
    faded.tell(part);
    meet<kSplit>(group);

    // dS <- diag(e^(G_C)) dS + scale Q~^T do - K~^T beta Z
    fade_part<kChannels>(dstate, factors, first_channel);
#pragma unroll
    for (int j = 0; j < kChunk / 16; ++j) {
      uint32_t a[4], z[4], b[4];
      doutput(a, j);
      if constexpr (!kChannels) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const float2 gate = factor(kGate, 16 * j + i / 2 * 8);
          a[i] = scale_pair(a[i], gate.x * work.p.scale, gate.y * work.p.scale);
        }
      }
      faded.get(z, j);
#pragma unroll
      for (int i = 0; i < G::kOwnChannels; ++i) {
        const int block = part * G::kOwnChannels + i;
        right_by_columns<kSize>(b, at + G::kQueries, block, j);
        multiply_pair(dstate[2 * i], dstate[2 * i + 1], a, b);
        right_by_columns<kSize>(b, at + G::kKeys, block, j);
        multiply_pair(dstate[2 * i], dstate[2 * i + 1], z, b);
      }
    }
  }
  if (backward.p.dgiven != nullptr) {
    for_each_element(dstate, first_channel, column, [&](float& x, int row, int col) {
      backward.p.dgiven[matrix + row * kSize + col] = x;
    });
  }
}

template <int kSize, bool kChannels, int kRows, int kSplit>
Status launch(const DeltaRuleBackwardWork& work, Stream stream) {
  using G = Geometry<kSize, kChannels, false, kRows, kSplit>;
  const int stages = shared_of_block() >= G::bytes(3) ? 3 : 2;
  const auto kernel = backward_kernel<kSize, kChannels, kRows, kSplit>;
  const cudaError_t error =
      cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, G::bytes(stages));
  if (error != cudaSuccess) return status_of(error);
  const DeltaRuleParams& p = work.p.forward;
  const dim3 blocks(static_cast<unsigned>(p.batch * p.heads), kSize / G::kColumns);
  kernel<<<blocks, G::kThreads, G::bytes(stages), cuda_stream(stream)>>>(work, stages);
  return launch_status();
}

template <int kSize, bool kChannels>
Status launch_slabs(const DeltaRuleBackwardWork& work, Stream stream) {
  switch (slab_columns(work.p.forward)) {
    case 16:
      return launch<kSize, kChannels, 1, 4>(work, stream);
    case 32:
      return launch<kSize, kChannels, 2, 4>(work, stream);
    case 64:
      return launch<kSize, kChannels, 4, 2>(work, stream);
    default:
      return launch<kSize, kChannels, kSize / 16, 1>(work, stream);
  }
}

}  // namespace

Status chain_delta_rule_backward(const DeltaRuleBackwardWork& work, Stream stream) {
  const DeltaRuleParams& p = work.p.forward;
  if (takes_hopper_chains(p)) return chain_delta_rule_backward_hopper(work, stream);
  if (p.is_per_channel) {
    return p.size == 64 ? launch_slabs<64, true>(work, stream)
                        : launch_slabs<128, true>(work, stream);
  }
  return p.size == 64 ? launch_slabs<64, false>(work, stream)
                      : launch_slabs<128, false>(work, stream);
}

}  // namespace hypenet::kernels::cuda
