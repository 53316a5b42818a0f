// The kernels of an inference step: a few rows, each a token of a sequence of its own.
#include <fmt/format.h>

#include <cmath>

#include "bench/cases.h"
#include "ops/attention_step.h"
#include "ops/delta_step.h"
#include "ops/lightning.h"
#include "ops/lightning_step.h"
#include "ops/linear_step.h"
#include "ops/mamba2_step.h"
#include "ops/rope.h"
#include "ops/rwkv7_step.h"
#include "ops/sampling.h"
#include "ops/short_convolution.h"
#include "ops/slot_step.h"
#include "ops/step_inputs.h"

namespace hypenet {
namespace {

KernelCall lightning_step_call(const InputSizes& cases, int64_t B, int64_t H, int64_t d) {
  const auto random = [&] { return torch::randn({B, H * d}, cases.options()); };
  const auto weight = [&](int64_t n) { return torch::rand({n}, cases.wide_options()); };
  const RopeAngles angles =
      rope_angles(torch::arange(B) + 5000, rope_frequencies(d, kRopeTheta));  // [B, d / 2]
  const LightningStepInput input{
      .q = random(),
      .k = random(),
      .v = random(),
      .q_weight = weight(d),
      .k_weight = weight(d),
      .angles = {angles.cos.to(cases.sizes.device), angles.sin.to(cases.sizes.device)},
      .decay = lightning_decay(H).to(cases.sizes.device),
      .scale = 1 / std::sqrt(static_cast<double>(d)),
      .o_weight = weight(H * d),
      .gate = random(),
      .eps = kEps,
      .state = torch::zeros({B, H, d, d}, cases.wide_options())};
  return by_kernel(form_of(input), [input] { return Tensors{lightning_step(input)}; });
}

void add_lightning_step(Cases& cases, int64_t B) {
  const int64_t H = 16, d = 128;
  // gamma S + k^T v and q S are 3 and 2 operations a number of the state. The float32 state is
  // read and written; q, k, v, gate and o are left out: 1 % more, and this is the floor to quote.
  cases.add("lightning step", fmt::format("B {}, H {}, d {}", B, H, d),
            {5 * product_of({B, H, d, d}), 2 * 4 * product_of({B, H, d, d})},
            [sizes = InputSizes(cases), B] { return lightning_step_call(sizes, B, H, d); });
}

/// Per head, or per channel as Kimi Delta Attention has it; q and k neither normed nor rotated.
KernelCall delta_step_call(const InputSizes& cases, int64_t B, int64_t H, int64_t d,
                           bool is_per_channel) {
  const auto random = [&](int64_t n) { return torch::randn({B, n}, cases.options()); };
  const int64_t decays = is_per_channel ? H * d : H;
  const DeltaStepInput input{.q = random(H * d),
                             .k = random(H * d),
                             .v = random(H * d),
                             .z = random(decays),
                             .A_log = torch::zeros({H}, cases.wide_options()),
                             .dt_bias = torch::full({decays}, -3, cases.wide_options()),
                             .b = random(H),
                             .scale = 1 / std::sqrt(static_cast<double>(d)),
                             .state = torch::zeros({B, H, d, d}, cases.wide_options()),
                             .slots = torch::arange(B, cases.options().dtype(torch::kInt32))};
  return by_kernel(form_of(input), [input] { return Tensors{delta_step(input)}; });
}

void add_delta_step(Cases& cases, int64_t B, bool is_per_channel) {
  const int64_t H = 16, d = 128;
  // The fading, k S, k^T u and q S are 1, 2, 2 and 2 operations a number of the state; bytes as of
  // the lightning step.
  cases.add("delta step",
            fmt::format("B {}, H {}, d {}{}", B, H, d, is_per_channel ? ", by channel" : ""),
            {7 * product_of({B, H, d, d}), 2 * 4 * product_of({B, H, d, d})},
            [sizes = InputSizes(cases), B, is_per_channel] {
              return delta_step_call(sizes, B, H, d, is_per_channel);
            });
}

/// Native Hybrid Attention's: M slots and a full window of W tokens.
KernelCall slot_step_call(const InputSizes& cases, int64_t B) {
  const int64_t H = 16, G = 8, d = 128, M = 64, W = 64;
  const auto random = [&](int64_t n) { return torch::randn({B, n}, cases.options()); };
  const auto zeros = [&](torch::IntArrayRef shape) {
    return torch::zeros(shape, cases.wide_options());
  };
  const auto numbers = cases.options().dtype(torch::kInt32);
  const RopeAngles angles = rope_angles(torch::arange(B) + 5000, rope_frequencies(d, kRopeTheta));
  const auto weight = [&] { return torch::rand({d}, cases.wide_options()); };
  const SlotStepInput input{
      .q = random(H * d),
      .k = random(G * d),
      .v = random(G * d),
      .g = random(G * M),
      .q_weight = weight(),
      .k_weight = weight(),
      .angles = {angles.cos.to(cases.sizes.device), angles.sin.to(cases.sizes.device)},
      .normalizer = 8,
      .scale = 1 / std::sqrt(static_cast<double>(d)),
      .slot_keys = zeros({B, G, d, M}),
      .slot_values = zeros({B, G, M, d}),
      .window = zeros({B, W, G, 3 * d + M}),
      .slots = torch::arange(B, numbers),
      .positions = torch::full({B}, 5000, numbers)};
  return by_kernel(form_of(input), [input] { return Tensors{slot_step(input)}; });
}

void add_slot_step(Cases& cases, int64_t B) {
  const int64_t H = 16, G = 8, d = 128, M = 64, W = 64;
  // The slots' keys and values fade and get a token, 3 operations a number; each query head
  // multiplies them and the window. Slots are read and written, of the window rotated keys and
  // values are read.
  cases.add("slot step", fmt::format("B {}, H {}, G {}, d {}, M {}, W {}", B, H, G, d, M, W),
            {6 * product_of({B, G, d, M}) + 4 * product_of({B, H, d, M + W}),
             4 * (4 * product_of({B, G, d, M}) + 2 * product_of({B, W, G, d}))},
            [sizes = InputSizes(cases), B] { return slot_step_call(sizes, B); });
}

KernelCall rwkv7_step_call(const InputSizes& cases, int64_t B, int64_t H, int64_t d) {
  const auto random = [&] { return torch::randn({B, H * d}, cases.options()); };
  const auto weight = [&] { return torch::rand({H * d}, cases.wide_options()); };
  const RopeAngles angles =
      rope_angles(torch::arange(B) + 5000, rope_frequencies(d, kRopeTheta));  // [B, d / 2]
  const Rwkv7StepInput input{
      .r = random(),
      .k = random(),
      .v = random(),
      .angles = {angles.cos.to(cases.sizes.device), angles.sin.to(cases.sizes.device)},
      .z_decay = random(),
      .decay_start = weight(),
      .z_rate = random(),
      .rate_start = weight(),
      .kappa_scale = weight(),
      .key_rate = weight(),
      .norm_weight = weight(),
      .norm_bias = weight(),
      .gate = random(),
      .state = torch::zeros({B, H, d, d}, cases.wide_options()),
      .slots = torch::arange(B, cases.options().dtype(torch::kInt32))};
  return by_kernel(form_of(input), [input] { return Tensors{rwkv7_step(input)}; });
}

void add_rwkv7_step(Cases& cases, int64_t B) {
  const int64_t H = 32, d = 64;
  // The fading, kappa S, what is removed, what is written and r S are 1, 2, 2, 2 and 2 operations a
  // number of the state; bytes as of the lightning step.
  cases.add("RWKV-7 step", fmt::format("B {}, H {}, d {}", B, H, d),
            {9 * product_of({B, H, d, d}), 2 * 4 * product_of({B, H, d, d})},
            [sizes = InputSizes(cases), B] { return rwkv7_step_call(sizes, B, H, d); });
}

/// With 8 heads of x and B for 16, as of Qwen3-1.7B; B and C neither normed nor rotated.
KernelCall mamba2_step_call(const InputSizes& cases, int64_t B, int64_t H, int64_t d) {
  const auto random = [&](int64_t n) { return torch::randn({B, n}, cases.options()); };
  const auto weight = [&](double x) { return torch::full({H}, x, cases.wide_options()); };
  const Mamba2StepInput input{.channels = random(2 * H * d),
                              .heads = {H / 2, H / 2, H},
                              .dt = random(H),
                              .A_log = weight(1),
                              .dt_bias = weight(-3),
                              .D = weight(1),
                              .state = torch::zeros({B, H, d, d}, cases.wide_options()),
                              .slots = torch::arange(B, cases.options().dtype(torch::kInt32))};
  return by_kernel(form_of(input), [input] { return Tensors{mamba2_step(input)}; });
}

void add_mamba2_step(Cases& cases, int64_t B) {
  const int64_t H = 16, d = 128;
  // Operations and bytes as of the lightning step.
  cases.add("Mamba-2 step", fmt::format("B {}, H {}, d {}", B, H, d),
            {5 * product_of({B, H, d, d}), 2 * 4 * product_of({B, H, d, d})},
            [sizes = InputSizes(cases), B] { return mamba2_step_call(sizes, B, H, d); });
}

void add_convolution_step(Cases& cases, int64_t N) {
  const int64_t C = 2048, taps = 4;
  // Of q, k and v: x and y, and the float32 tail read and written.
  const double bytes = 2 * cases.element_bytes() + 2 * 4 * static_cast<double>(taps - 1);
  cases.add("short convolution step", fmt::format("N {}, 3 x {}, {} taps", N, C, taps),
            {0, 3 * product_of({N, C}) * bytes}, [=, sizes = InputSizes(cases)] {
              std::vector<StepConvolution> three;
              three.reserve(3);
              for (int i = 0; i < 3; ++i) {
                three.push_back({torch::randn({N, C}, sizes.options()),
                                 torch::randn({C, 1, taps}, sizes.options()),
                                 torch::zeros({N, C, taps - 1}, sizes.wide_options())});
              }
              const Tensor slots = torch::arange(N, sizes.options().dtype(torch::kInt32));
              return [=] { return short_convolution_steps(three, slots, /*has_silu=*/true); };
            });
}

/// N sequences of T tokens each, the last of which is the step's; their pages in no order.
KernelCall attention_step_call(const InputSizes& cases, int64_t N, int64_t T) {
  const int64_t H = 16, G = 8, d = 128, P = 128, width = (T + P - 1) / P;
  const auto random = [&](torch::IntArrayRef shape) {
    return torch::randn(shape, cases.options());
  };
  const auto numbers = cases.options().dtype(torch::kInt32);
  const auto weight = [&] { return torch::rand({d}, cases.wide_options()); };
  const AttentionStepInput input{
      .q = random({N, H * d}),
      .k = random({N, G * d}),
      .v = random({N, G * d}),
      .q_weight = weight(),
      .k_weight = weight(),
      .eps = kEps,
      .query_scale = torch::ones({N}, cases.wide_options()),
      .gate = random({N, H * d}),
      .cache = {random({N * width, P, G, d}), random({N * width, P, G, d})},
      .page_table = torch::randperm(N * width, numbers).view({N, width}),
      .slots = torch::arange(N, numbers),
      .positions = torch::full({N}, T - 1, numbers)};
  return by_kernel(form_of(input), [input] { return Tensors{attention_step(input)}; });
}

void add_attention_step(Cases& cases, int64_t sequences, int64_t tokens) {
  const int64_t H = 16, G = 8, d = 128;
  const int64_t N = cases.batch(sequences), T = cases.part(tokens);
  // Keys and values once; q k^T and its product with v.
  cases.add("attention step", fmt::format("N {}, {} tokens, H {}, G {}, d {}", N, T, H, G, d),
            {4 * product_of({N, T, H, d}), 2 * product_of({N, T, G, d}) * cases.element_bytes()},
            [sizes = InputSizes(cases), N, T] { return attention_step_call(sizes, N, T); });
}

/// The linear layers of a step that read one x.
struct StepLayers {
  const char* name;
  int64_t K;
  std::vector<int64_t> outs;
  bool has_norm = false, has_gate = false, is_swiglu = false, has_residual = false;
  bool is_head = false;
};

KernelCall linear_step_call(const InputSizes& cases, const StepLayers& layers, int64_t N) {
  const auto random = [&](int64_t n) { return torch::randn({N, n}, cases.options()); };
  std::vector<LinearWeights> weights;
  for (const int64_t out : layers.outs) {
    weights.push_back({torch::randn({out, layers.K}, cases.options()).mul_(0.02)});
  }
  LinearStepInput input{.x = random(layers.K), .eps = kEps, .layers = {}};
  if (layers.has_norm) input.norm_weight = torch::rand({layers.K}, cases.options());
  if (layers.has_gate) input.gate = random(layers.K);
  if (layers.has_residual) input.residual = random(layers.outs[0]);
  input.is_swiglu = layers.is_swiglu, input.has_float_output = layers.is_head;
  input.layers = weights;
  return by_kernel(form_of(input), [input, weights]() mutable {
    input.layers = weights;
    return linear_step(input);
  });
}

void add_linear_step(Cases& cases, const StepLayers& layers, int64_t N) {
  std::string outs;
  double weights = 0;
  for (const int64_t out : layers.outs) {
    outs += fmt::format("{}{}", outs.empty() ? "" : " + ", out);
    weights += product_of({out, layers.K});
  }
  const char* extras = layers.has_gate    ? ", gated norm, residual"
                       : layers.is_swiglu ? ", norm, SwiGLU"
                       : layers.has_norm  ? ", norm"
                                          : ", residual";
  // The weights, read once: the few rows beside them are left out.
  cases.add("linear step",
            fmt::format("{}: N {}, {} -> {}{}", layers.name, N, layers.K, outs, extras),
            {2.0 * static_cast<double>(N) * weights, weights * cases.element_bytes()},
            [sizes = InputSizes(cases), layers, N] { return linear_step_call(sizes, layers, N); });
}

/// The layers of one block and the head; D 2048 is the 2B model, 576 SmolLM2.
void add_linear_steps(Cases& cases, int64_t D, int64_t key_outs, int64_t mlp, int64_t vocabulary) {
  const int64_t out = cases.part(D), key_out = cases.part(key_outs), hidden = cases.part(mlp);
  const StepLayers all[] = {
      {.name = "q, k, v, z", .K = D, .outs = {out, key_out, key_out, out}, .has_norm = true},
      {.name = "o",
       .K = D,
       .outs = {out},
       .has_norm = true,
       .has_gate = true,
       .has_residual = true},
      {.name = "gate, up", .K = D, .outs = {hidden, hidden}, .has_norm = true, .is_swiglu = true},
      {.name = "down", .K = mlp, .outs = {out}, .has_residual = true},
      {.name = "head",
       .K = D,
       .outs = {cases.part(vocabulary)},
       .has_norm = true,
       .is_head = true}};
  for (const StepLayers& layers : all) {
    for (const int64_t N : {1, 8, 64}) add_linear_step(cases, layers, N);
  }
}

/// N rows choose a token: greedily, or by every filter.
void add_sampling(Cases& cases, int64_t N, int64_t vocabulary, bool is_greedy) {
  const int64_t V = cases.part(vocabulary);
  // The logits, once.
  cases.add(is_greedy ? "sample, greedy" : "sample, all filters", fmt::format("[{}, {}]", N, V),
            {0, 4 * product_of({N, V})}, [=, wide = cases.wide_options()] {
              const Tensor logits = torch::randn({N, V}, wide) * 2;
              const Tensor slots = torch::arange(N, wide.dtype(torch::kInt32));
              SamplingState state = make_sampling_state(N, V, 512, wide.device());
              const SampleSettings filters{/*seed=*/0, 0.8F, 1000, 0.9F, 0.01F, 1.1F};
              for (int64_t slot = 0; slot < N && !is_greedy; ++slot) {
                set_settings(state, slot, filters);
              }
              return [=]() mutable {
                const SampledTokens tokens = sample_tokens(logits, slots, state);
                return Tensors{tokens.ids, tokens.logprobs};
              };
            });
}

void add_step_inputs(Cases& cases, int64_t N) {
  const int64_t V = 4096, D = 2048, d = 128;  // each set of inputs has a table
  // A row of the embedding read and written; cos and sin written.
  cases.add("step inputs", fmt::format("N {}, D {}, d {}", N, D, d),
            {0, product_of({N, D}) * 2 * cases.element_bytes() + product_of({N, d}) * 4},
            [=, options = cases.options()] {
              const auto integers = options.dtype(torch::kInt32);
              const StepInputsInput input{
                  .ids = torch::randint(V, {N}, integers),
                  .positions = torch::randint(1 << 20, {N}, integers),
                  .embedding = torch::randn({V, D}, options),
                  .frequencies = rope_frequencies(d, kRopeTheta).to(options.device()),
                  .scale_base = 500};
              return [input, type = options.dtype().toScalarType()] {
                const StepInputs made = step_inputs(input, type);
                return Tensors{made.h, made.angles.cos, made.angles.sin, made.query_scale};
              };
            });
}

}  // namespace

void add_step_cases(Cases& cases) {
  for (const int64_t B : {1, 8, 32}) add_lightning_step(cases, B);
  for (const bool is_per_channel : {false, true}) {
    for (const int64_t B : {1, 8, 32}) add_delta_step(cases, B, is_per_channel);
    if (!cases.sizes.is_quick) add_delta_step(cases, 128, is_per_channel);
  }
  if (cases.sizes.device.is_cuda()) {  // a CPU has tensor code alone
    for (const int64_t B : {1, 32, 128}) add_slot_step(cases, B);
  }
  if (cases.sizes.device.is_cuda()) {
    for (const int64_t B : {1, 8, 32}) add_rwkv7_step(cases, B);
    if (!cases.sizes.is_quick) add_rwkv7_step(cases, 128);
  }
  for (const int64_t B : {1, 8, 32}) add_mamba2_step(cases, B);
  if (!cases.sizes.is_quick) add_mamba2_step(cases, 128);
  for (const int64_t N : {1, 32}) add_convolution_step(cases, N);
  for (const int64_t T : {4096, 32768, 131072, 1048576}) add_attention_step(cases, 1, T);
  for (const int64_t T : {4096, 32768}) add_attention_step(cases, 64, T);
  add_linear_steps(cases, 2048, 2048, 6144, 151936);
  add_linear_steps(cases, 576, 576, 1536, 49152);
  for (const int64_t N : {1, 64})
    for (const bool is_greedy : {true, false}) add_sampling(cases, N, 151936, is_greedy);
  add_sampling(cases, 1, 49152, /*is_greedy=*/true);
  for (const int64_t N : {1, 64}) add_step_inputs(cases, N);
}

}  // namespace hypenet
