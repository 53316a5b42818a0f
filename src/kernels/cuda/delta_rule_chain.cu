// The chunks of a head one after the other. All products are transposed, so that a warp's state,
// S^T, and what it makes of it are left factors as they lie in its registers.
#include "kernels/cuda/delta_rule_chain.cuh"

namespace hypenet::kernels::cuda {
namespace {

/// predicted <- beta (v - k S'), of the warp's tokens.
template <class G, bool kChannels, class Factor>
__device__ __forceinline__ void subtract_from_values(float (&predicted)[2 * G::kOwnTokens][4],
                                                     uint32_t at, int group, int part,
                                                     const Factor& factor) {
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int i = 0; i < G::kOwnTokens; ++i) {
    const int token = 16 * (part * G::kOwnTokens + i);
    uint32_t v[4];
    load_transposed(v, at + G::kValues + (token + lane % 8 + lane / 16 * 8) * G::kValueRow +
                           2 * (16 * group + lane / 8 % 2 * 8));
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const float2 beta = factor(kBeta, token + 8 * half);
      float2 gate = make_float2(1, 1);
      if constexpr (!kChannels) gate = factor(kGate, token + 8 * half);
      auto& x = predicted[2 * i + half];
      const float2 first = pair_of(v[2 * half]), second = pair_of(v[2 * half + 1]);
      x[0] = beta.x * (first.x - gate.x * x[0]), x[1] = beta.y * (first.y - gate.y * x[1]);
      x[2] = beta.x * (second.x - gate.x * x[2]), x[3] = beta.y * (second.y - gate.y * x[3]);
    }
  }
}

/// The warp's tokens and columns of the output.
template <class G, int kSize>
__device__ __forceinline__ void store_output(const DeltaRuleParams& p,
                                             const float (&output)[2 * G::kOwnTokens][4],
                                             const HeadTokens& tokens, int column, int part) {
  char* const to = static_cast<char*>(p.output) + (tokens.first * kSize + column) * 2;
  const int64_t stride = tokens.stride * kSize * 2;
#pragma unroll
  for (int i = 0; i < G::kOwnTokens; ++i) {
    const int token = 16 * (part * G::kOwnTokens + i);
    uint32_t x[4];
    left_from(x, output[2 * i], output[2 * i + 1]);
    store_by_token(to + token * stride, stride, x, tokens.rows - token);
  }
}

template <int kSize, bool kChannels, bool kLeaves, int kRows, int kSplit>
__global__ void __launch_bounds__(32 * kRows * kSplit, 1)
    chain_kernel(const __grid_constant__ DeltaRuleWork work, const int stages) {
  using G = Geometry<kSize, kChannels, kLeaves, kRows, kSplit>;
  extern __shared__ __align__(128) char shared[];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, t = lane % 4;
  const int group = warp / kSplit, part = warp % kSplit;
  const int64_t head = blockIdx.x;
  const int slab = static_cast<int>(blockIdx.y) * G::kColumns, column = slab + 16 * group;
  const int first_channel = 16 * part * G::kOwnChannels;
  const uint32_t base = shared_address(shared);
  uint4* const told = reinterpret_cast<uint4*>(shared + stages * G::kStage) +
                      group * (G::kStateParts + 3 * G::kTokenParts) * 32;
  Told<G::kStateParts, kSplit> states{.all = told};
  Told<G::kTokenParts, kSplit> values{.all = told + G::kStateParts * 32};
  Told<G::kTokenParts, kSplit> rows{.all = values.all + G::kTokenParts * 32};
  Told<G::kTokenParts, kSplit> tails{.all = rows.all + G::kTokenParts * 32};

  float state[2 * G::kOwnChannels][4] = {};  // S^T, [16 columns, channels]
  const int64_t matrix = head * kSize * kSize;
  if (work.p.given != nullptr) {
    for_each_element(state, first_channel, column, [&](float& x, int row, int col) {
      x = work.p.given[matrix + row * kSize + col];
    });
  }
  for (int ahead = 0; ahead < stages - 1; ++ahead) {
    ask_chunk<G, kSize, kChannels, kLeaves>(work, base + ahead * G::kStage, head, ahead, work.p.v,
                                            slab);
  }
  int stage = 0;
  for (int64_t chunk = 0; chunk < work.scratch.chunks; ++chunk) {
#pragma unroll
    for (int i = 0; i < G::kOwnChannels; ++i) {
      left_from(states.own[i], state[2 * i], state[2 * i + 1]);
    }
    states.tell(part);
    wait_for_stage(stages);
    const int free = stage == 0 ? stages - 1 : stage - 1;
    ask_chunk<G, kSize, kChannels, kLeaves>(work, base + free * G::kStage, head, chunk + stages - 1,
                                            work.p.v, slab);
    const uint32_t at = base + stage * G::kStage;
    const float* const factors =
        reinterpret_cast<const float*>(shared + stage * G::kStage + G::kFactorsAt);
    stage = stage + 1 == stages ? 0 : stage + 1;
    const int64_t piece = head * work.scratch.chunks + chunk;
    const HeadTokens tokens = tokens_of(work.p, head, chunk);
    const auto factor = [&](int which, int token) {
      return *reinterpret_cast<const float2*>(factors + which * kChunk + token + 2 * t);
    };
    if constexpr (kLeaves) {
      store_part<kSize>(work.scratch.states + piece * (2 * kSize * kSize), states.own, column,
                        first_channel);
    }

    // What the state says of keys and queries.
    float predicted[2 * G::kOwnTokens][4] = {}, output[2 * G::kOwnTokens][4] = {};
#pragma unroll
    for (int d = 0; d < kSize / 16; ++d) {
      uint32_t a[4], b[4];
      states.get(a, d);
#pragma unroll
      for (int i = 0; i < G::kOwnTokens; ++i) {
        const int block = part * G::kOwnTokens + i;
        right_by_rows<kSize>(b, at + G::kKeys, block, d);
        multiply_pair(predicted[2 * i], predicted[2 * i + 1], a, b);
        if constexpr (!kLeaves) {
          right_by_rows<kSize>(b, at + G::kQueries, block, d);
          multiply_pair(output[2 * i], output[2 * i + 1], a, b);
        }
      }
    }
    subtract_from_values<G, kChannels>(predicted, at, group, part, factor);
#pragma unroll
    for (int i = 0; i < G::kOwnTokens; ++i) {
      left_from(values.own[i], predicted[2 * i], predicted[2 * i + 1]);
    }
    values.tell(part);
    meet<kSplit>(group);

    // U, the rows that are written.
    float written[2 * G::kOwnTokens][4] = {};
    add_up_to<G>(written, values, at + G::kInverse, part);
#pragma unroll
    for (int i = 0; i < G::kOwnTokens; ++i) {
      left_from(rows.own[i], written[2 * i], written[2 * i + 1]);
      if constexpr (kChannels) continue;
      const int token = 16 * (part * G::kOwnTokens + i);
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        scale_pairs(written[2 * i + half], factor(kTail, token + 8 * half));
      }
      left_from(tails.own[i], written[2 * i], written[2 * i + 1]);
    }
    rows.tell(part);
    if constexpr (!kChannels) tails.tell(part);
    meet<kSplit>(group);
    if constexpr (kLeaves) {
      char* const to = work.scratch.rows + piece * G::kTile + 2 * column;
#pragma unroll
      for (int i = 0; i < G::kOwnTokens; ++i) {
        const int token = 16 * (part * G::kOwnTokens + i);
        store_by_token(to + token * (2 * kSize), 2 * kSize, rows.own[i], kChunk);
      }
    } else {
      // o = scale q S' + P U
#pragma unroll
      for (int i = 0; i < G::kOwnTokens; ++i) {
        if constexpr (kChannels) break;
        const int token = 16 * (part * G::kOwnTokens + i);
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const float2 gate = factor(kGate, token + 8 * half);
          scale_pairs(output[2 * i + half],
                      make_float2(gate.x * work.p.scale, gate.y * work.p.scale));
        }
      }
      add_up_to<G>(output, rows, at + G::kScores, part);
    }

    // S <- diag(e^(G_C)) S + E^T U
    fade_part<kChannels>(state, factors, first_channel);
#pragma unroll
    for (int j = 0; j < kChunk / 16; ++j) {
      uint32_t a[4], b[4];
      if constexpr (kChannels) {
        rows.get(a, j);
      } else {
        tails.get(a, j);
      }
#pragma unroll
      for (int i = 0; i < G::kOwnChannels; ++i) {
        right_by_columns<kSize>(b, at + (kChannels ? G::kTails : G::kKeys),
                                part * G::kOwnChannels + i, j);
        multiply_pair(state[2 * i], state[2 * i + 1], a, b);
      }
    }
    if constexpr (!kLeaves) {
      store_output<G, kSize>(work.p, output, tokens, column, part);
    }
  }
  if (!kLeaves && work.p.final_state != nullptr) {
    for_each_element(state, first_channel, column, [&](float& x, int row, int col) {
      work.p.final_state[matrix + row * kSize + col] = x;
    });
  }
}

template <int kSize, bool kChannels, bool kLeaves, int kRows, int kSplit>
Status launch(const DeltaRuleWork& work, Stream stream) {
  using G = Geometry<kSize, kChannels, kLeaves, kRows, kSplit>;
  const int stages = shared_of_block() >= G::bytes(3) ? 3 : 2;
  const auto kernel = chain_kernel<kSize, kChannels, kLeaves, kRows, kSplit>;
  const cudaError_t error =
      cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, G::bytes(stages));
  if (error != cudaSuccess) return status_of(error);
  const dim3 blocks(static_cast<unsigned>(work.p.batch * work.p.heads), kSize / G::kColumns);
  kernel<<<blocks, G::kThreads, G::bytes(stages), cuda_stream(stream)>>>(work, stages);
  return launch_status();
}

template <int kSize, bool kChannels, bool kLeaves>
Status launch_slabs(const DeltaRuleWork& work, Stream stream) {
  switch (slab_columns(work.p)) {
    case 16:
      return launch<kSize, kChannels, kLeaves, 1, 4>(work, stream);
    case 32:
      return launch<kSize, kChannels, kLeaves, 2, 4>(work, stream);
    case 64:
      return launch<kSize, kChannels, kLeaves, 4, 2>(work, stream);
    default:
      return launch<kSize, kChannels, kLeaves, kSize / 16, 1>(work, stream);
  }
}

template <int kSize, bool kChannels>
Status launch_ends(const DeltaRuleWork& work, bool leaves_states, Stream stream) {
  return leaves_states ? launch_slabs<kSize, kChannels, true>(work, stream)
                       : launch_slabs<kSize, kChannels, false>(work, stream);
}

}  // namespace

int64_t chain_delta_rule_bytes(int64_t size, bool is_per_channel) {
  if (is_per_channel) {
    return size == 64 ? Geometry<64, true, false, 4, 2>::bytes(2)
                      : Geometry<128, true, false, 8, 1>::bytes(2);
  }
  return size == 64 ? Geometry<64, false, false, 4, 2>::bytes(2)
                    : Geometry<128, false, false, 8, 1>::bytes(2);
}

Status chain_delta_rule(const DeltaRuleWork& work, bool leaves_states, Stream stream) {
  if (takes_hopper_chains(work.p)) return chain_delta_rule_hopper(work, leaves_states, stream);
  if (work.p.is_per_channel) {
    return work.p.size == 64 ? launch_ends<64, true>(work, leaves_states, stream)
                             : launch_ends<128, true>(work, leaves_states, stream);
  }
  return work.p.size == 64 ? launch_ends<64, false>(work, leaves_states, stream)
                           : launch_ends<128, false>(work, leaves_states, stream);
}

}  // namespace hypenet::kernels::cuda
