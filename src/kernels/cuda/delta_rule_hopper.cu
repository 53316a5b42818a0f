// The chains of the delta rule on Hopper: a warpgroup owns 64 columns of the state. All products
// are transposed as in delta_rule_chain.cu: the state and what is made of it are left factors as
// they lie in registers, and right factors are read in place.
#include "kernels/cuda/delta_rule_hopper.cuh"

namespace hypenet::kernels::cuda {
namespace {

template <int kSize, bool kChannels, bool kLeaves, int kGroups>
__global__ void __launch_bounds__(128 * kGroups, 1)
    forward_kernel(const __grid_constant__ DeltaRuleWork work, const int stage_count) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  using G = HopperGeometry<kSize, kChannels, kLeaves ? Way::kLeaving : Way::kForward, kGroups>;
  extern __shared__ char unaligned[];
  const DeltaRuleParams &p = work.p;
  const Lane own;
  const int64_t head = blockIdx.x, matrix = head * kSize * kSize;
  const int slab = static_cast<int>(blockIdx.y) * 64 * kGroups, column = own.column(slab);
  Stages<G> stages(unaligned, stage_count);
  State<kSize> state = {};
  if (p.given != nullptr) {
    for_each_element<kSize>(state, column, [&](float &x, int row, int col) {
      x = p.given[matrix + row * kSize + col];
    });
  }
  const auto ask = [&](uint32_t stage, int64_t chunk) {
    ask_chunk<G, kSize, kChannels>(p, work.scratch, stage, head, chunk, p.v, slab);
  };
  for (int ahead = 0; ahead < stage_count - 1; ++ahead) ask(stages.at(ahead), ahead);
  for (int64_t chunk = 0; chunk < work.scratch.chunks; ++chunk) {
    uint32_t rounded[kSize / 16][4];
    round_to(rounded, state);
    stages.wait();
    const uint32_t at = stages.at(stages.now);
    const float *const factors = stages.factors();
    Sums predicted, output;
    begin_products();
    queue_by_rows<kSize>(predicted, rounded, at + G::kKeys);
    commit_products();
    if constexpr (!kLeaves) queue_by_rows<kSize>(output, rounded, at + G::kQueries);
    commit_products();
    ask(stages.free(), chunk + stage_count - 1);
    stages.advance();
    const int64_t piece = head * work.scratch.chunks + chunk;
    if constexpr (kLeaves) {
      store_state<kSize>(work.scratch.states + piece * (2 * kSize * kSize), rounded, column);
    }
    wait_products<1>();
    pin(predicted);

    // beta (v - k S')
    Tokens values;
#pragma unroll
    for (int j = 0; j < kChunk / 16; ++j) {
      uint32_t v[4];
      own.get_values(v, at + G::kValues, j);
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int n = 2 * j + half;
        const float2 beta = own.factor(factors, kBeta, n);
        if constexpr (!kChannels) scale_tile(predicted, n, own.factor(factors, kGate, n));
        const float2 first = pair_of(v[2 * half]), second = pair_of(v[2 * half + 1]);
        float *const x = predicted + 4 * n;
        x[0] = beta.x * (first.x - x[0]), x[1] = beta.y * (first.y - x[1]);
        x[2] = beta.x * (second.x - x[2]), x[3] = beta.y * (second.y - x[3]);
      }
    }
    round_to(values, predicted);
    Tokens values_low;
    round_rest(values_low, predicted, values);
    Sums written;
    begin_products();
    queue_square<false>(written, values, at + G::kInverse, false);
    queue_square<false>(written, values_low, at + G::kInverse, true);
    commit_products();
    fade_state<kSize, kChannels>(state, factors);
    wait_products<0>();
    pin(written);

    // U, and as it is added to the state
    Tokens rows, tails, rows_low, tails_low;
    round_to(rows, written);
    round_rest(rows_low, written, rows);
    if constexpr (!kChannels) {
#pragma unroll
      for (int n = 0; n < kChunk / 8; ++n) {
        scale_tile(written, n, own.factor(factors, kTail, n));
      }
      round_to(tails, written);
      round_rest(tails_low, written, tails);
    }
    if constexpr (!kLeaves) {
      pin(output);
      if constexpr (!kChannels) {
#pragma unroll
        for (int n = 0; n < kChunk / 8; ++n) {
          const float2 gate = own.factor(factors, kGate, n);
          scale_tile(output, n, make_float2(gate.x * p.scale, gate.y * p.scale));
        }
      }
    }
    begin_products();
    if constexpr (!kLeaves) {
      queue_square<false>(output, rows, at + G::kScores, true);
      queue_square<false>(output, rows_low, at + G::kScores, true);
    }
    commit_products();
    queue_update<kSize>(state, kChannels ? rows : tails, at + (kChannels ? G::kTails : G::kKeys));
    queue_update<kSize>(state, kChannels ? rows_low : tails_low,
                        at + (kChannels ? G::kTails : G::kKeys));
    commit_products();
    if constexpr (kLeaves) {
      store_tokens(work.scratch.rows + piece * G::kTile + 2 * (column - own.lane / 4), 2 * kSize,
                   rows, kChunk);
    } else {
      wait_products<1>();
      pin(output);
      const HeadTokens tokens = tokens_of(p, head, chunk);
      Tokens x;
      round_to(x, output);
      store_tokens(
          static_cast<char *>(p.output) + (tokens.first * kSize + column - own.lane / 4) * 2,
          tokens.stride * kSize * 2, x, tokens.rows);
    }
    wait_products<0>();
    pin(state);
  }
  if (!kLeaves && p.final_state != nullptr) {
    for_each_element<kSize>(state, column, [&](float &x, int row, int col) {
      p.final_state[matrix + row * kSize + col] = x;
    });
  }
#endif
}

template <int kSize, bool kChannels, int kGroups>
__global__ void __launch_bounds__(128 * kGroups, 1)
    backward_kernel(const __grid_constant__ DeltaRuleBackwardWork work, const int stage_count) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  using G = HopperGeometry<kSize, kChannels, Way::kBackward, kGroups>;
  extern __shared__ char unaligned[];
  const DeltaRuleParams &p = work.p.forward;
  const DeltaScratch &scratch = work.scratch;
  const Lane own;
  const int64_t head = blockIdx.x, matrix = head * kSize * kSize;
  const int slab = static_cast<int>(blockIdx.y) * 64 * kGroups, column = own.column(slab);
  Stages<G> stages(unaligned, stage_count);
  State<kSize> dstate = {};
  if (work.p.dfinal != nullptr) {
    for_each_element<kSize>(dstate, column, [&](float &x, int row, int col) {
      x = work.p.dfinal[matrix + row * kSize + col];
    });
  }
  const auto ask = [&](uint32_t stage, int64_t chunk) {
    ask_chunk<G, kSize, kChannels>(p, scratch, stage, head, chunk, work.p.doutput, slab);
  };
  for (int ahead = 0; ahead < stage_count - 1; ++ahead) {
    ask(stages.at(ahead), scratch.chunks - 1 - ahead);
  }
  for (int64_t chunk = scratch.chunks - 1; chunk >= 0; --chunk) {
    uint32_t rounded[kSize / 16][4];
    round_to(rounded, dstate);
    stages.wait();
    const uint32_t at = stages.at(stages.now);
    const float *const factors = stages.factors();
    Tokens doutput, scaled;
#pragma unroll
    for (int j = 0; j < kChunk / 16; ++j) {
      own.get_values(doutput[j], at + G::kValues, j);
      if constexpr (!kChannels) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const float2 gate = own.factor(factors, kGate, 2 * j + i / 2);
          scaled[j][i] = scale_pair(doutput[j][i], gate.x * p.scale, gate.y * p.scale);
        }
      }
    }
    fade_state<kSize, kChannels>(dstate, factors);
    Sums from_state, from_output;
    begin_products();
    queue_by_rows<kSize>(from_state, rounded, at + (kChannels ? G::kTails : G::kKeys));
    queue_square<true>(from_output, doutput, at + G::kScores, false);
    commit_products();
    queue_update<kSize>(dstate, kChannels ? doutput : scaled, at + G::kQueries);
    commit_products();
    ask(stages.free(), chunk - (stage_count - 1));
    stages.advance();
    const int64_t piece = head * scratch.chunks + chunk;
    store_state<kSize>(scratch.dstates + piece * (2 * kSize * kSize), rounded, column);
    wait_products<1>();
    pin(from_state);
    pin(from_output);

    // dU = E dS + scale P^T do
#pragma unroll
    for (int n = 0; n < kChunk / 8; ++n) {
      if constexpr (!kChannels) scale_tile(from_state, n, own.factor(factors, kTail, n));
#pragma unroll
      for (int i = 4 * n; i < 4 * n + 4; ++i) from_state[i] += from_output[i];
    }
    Tokens dwritten;
    round_to(dwritten, from_state);
    Tokens dwritten_low;
    round_rest(dwritten_low, from_state, dwritten);
    Sums solved;
    begin_products();
    queue_square<true>(solved, dwritten, at + G::kInverse, false);
    queue_square<true>(solved, dwritten_low, at + G::kInverse, true);
    commit_products();
    wait_products<0>();
    pin(solved);
    pin(dstate);

    // Z = (I + L)^-T dU; what the state loses by it is k beta Z, with k as it
    // met the state.
    Tokens drows, lost;
    round_to(drows, solved);
#pragma unroll
    for (int n = 0; n < kChunk / 8; ++n) {
      float2 factor = own.factor(factors, kBeta, n);
      if constexpr (!kChannels) {
        const float2 gate = own.factor(factors, kGate, n);
        factor.x *= gate.x, factor.y *= gate.y;
      }
      scale_tile(solved, n, make_float2(-factor.x, -factor.y));
    }
    round_to(lost, solved);
    Tokens lost_low;
    round_rest(lost_low, solved, lost);
    begin_products();
    queue_update<kSize>(dstate, lost, at + G::kKeys);
    queue_update<kSize>(dstate, lost_low, at + G::kKeys);
    commit_products();
    store_tokens(scratch.drows + piece * G::kTile + 2 * (column - own.lane / 4), 2 * kSize, drows,
                 kChunk);
    wait_products<0>();
    pin(dstate);
  }
  if (work.p.dgiven != nullptr) {
    for_each_element<kSize>(dstate, column, [&](float &x, int row, int col) {
      work.p.dgiven[matrix + row * kSize + col] = x;
    });
  }
#endif
}

template <class G, class Work>
Status launch(void (*kernel)(Work, int), const Work &work, const DeltaRuleParams &p,
              Stream stream) {
  const int stages = shared_of_block() >= G::bytes(3) ? 3 : 2;
  const cudaError_t error =
      cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, G::bytes(stages));
  if (error != cudaSuccess) return status_of(error);
  const dim3 blocks(static_cast<unsigned>(p.batch * p.heads),
                    static_cast<unsigned>(p.size * 2 / G::kThreads));
  kernel<<<blocks, G::kThreads, G::bytes(stages), cuda_stream(stream)>>>(work, stages);
  return launch_status();
}

/// One warpgroup a block while all blocks run at once, else as many as the
/// columns need.
template <int kSize, bool kChannels, bool kLeaves>
Status launch_forward(const DeltaRuleWork &work, Stream stream) {
  constexpr Way kWay = kLeaves ? Way::kLeaving : Way::kForward;
  if constexpr (kSize == 128) {
    if (slab_columns(work.p) == 128) {
      return launch<HopperGeometry<kSize, kChannels, kWay, 2>>(
          forward_kernel<kSize, kChannels, kLeaves, 2>, work, work.p, stream);
    }
  }
  return launch<HopperGeometry<kSize, kChannels, kWay, 1>>(
      forward_kernel<kSize, kChannels, kLeaves, 1>, work, work.p, stream);
}

template <int kSize, bool kChannels>
Status launch_backward(const DeltaRuleBackwardWork &work, Stream stream) {
  const DeltaRuleParams &p = work.p.forward;
  if constexpr (kSize == 128) {
    if (slab_columns(p) == 128) {
      return launch<HopperGeometry<kSize, kChannels, Way::kBackward, 2>>(
          backward_kernel<kSize, kChannels, 2>, work, p, stream);
    }
  }
  return launch<HopperGeometry<kSize, kChannels, Way::kBackward, 1>>(
      backward_kernel<kSize, kChannels, 1>, work, p, stream);
}

template <int kSize, bool kChannels>
Status launch_forward_ways(const DeltaRuleWork &work, bool leaves_states, Stream stream) {
  return leaves_states ? launch_forward<kSize, kChannels, true>(work, stream)
                       : launch_forward<kSize, kChannels, false>(work, stream);
}

}  // namespace

Status chain_delta_rule_hopper(const DeltaRuleWork &work, bool leaves_states, Stream stream) {
  if (work.p.is_per_channel) {
    return work.p.size == 64 ? launch_forward_ways<64, true>(work, leaves_states, stream)
                             : launch_forward_ways<128, true>(work, leaves_states, stream);
  }
  return work.p.size == 64 ? launch_forward_ways<64, false>(work, leaves_states, stream)
                           : launch_forward_ways<128, false>(work, leaves_states, stream);
}

Status chain_delta_rule_backward_hopper(const DeltaRuleBackwardWork &work, Stream stream) {
  const DeltaRuleParams &p = work.p.forward;
  if (p.is_per_channel) {
    return p.size == 64 ? launch_backward<64, true>(work, stream)
                        : launch_backward<128, true>(work, stream);
  }
  return p.size == 64 ? launch_backward<64, false>(work, stream)
                      : launch_backward<128, false>(work, stream);
}

}  // namespace hypenet::kernels::cuda
