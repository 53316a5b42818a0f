// Beside each call stands its count of FLOPs and bytes, which docs/kernels-log.md derives.
#include "bench/kernel_cases.h"

#include <fmt/format.h>

#include <cmath>
#include <utility>

#include "bench/cases.h"
#include "bench/kernel_timing.h"
#include "bench/read_bandwidth.h"
#include "ops/attention.h"
#include "ops/dplr.h"
#include "ops/gating.h"
#include "ops/lightning.h"
#include "ops/linear.h"
#include "ops/mean_squared_error.h"
#include "ops/norm.h"
#include "ops/recurrence.h"
#include "ops/rope.h"
#include "ops/slot_attention.h"
#include "train/losses.h"

namespace hypenet {
namespace {

void add_lightning(Cases& cases, int64_t H, int64_t d, int64_t B, int64_t T) {
  constexpr int64_t C = 64;  // tokens a chunk
  B = cases.batch(B), T = cases.part(T);
  const double unit = product_of({B, T, H, C * d + d * d});
  const double tensor = product_of({B, T, H, d}) * cases.element_bytes();
  // Forward: q, k, v and o. Backward: q, k, v, do and dq, dk, dv.
  cases.add_both(
      "lightning attention", fmt::format("{} x {}, H {}, d {}", B, T, H, d), {4 * unit, 4 * tensor},
      {14 * unit, 11 * tensor}, [=, options = cases.options()]() -> DifferentiableCall {
        const Tensor decay = lightning_decay(H).to(options.device());
        const auto random = [&] { return torch::randn({B, T, H, d}, options); };
        const auto input = [decay, d](const Tensors& x) {
          return Recurrence{.q = x[0],
                            .k = x[1],
                            .v = x[2],
                            .decay = decay,
                            .scale = 1 / std::sqrt(static_cast<double>(d)),
                            .needs_state = false};
        };
        return {{random(), random(), random()},
                [input](const Tensors& x) { return Tensors{recurrence_chunked(input(x)).output}; },
                [input](const Tensors& x) { return form_of(input(x)); }};
      });
}

/// Gated DeltaNet's or Kimi Delta Attention's recurrence.
void add_delta_rule(Cases& cases, bool is_per_channel, int64_t B, int64_t T) {
  const int64_t C = 64, H = 16, d = 128;  // C tokens a chunk
  B = cases.batch(B), T = cases.part(T);
  const double tokens = product_of({B, T, H}), tensor = tokens * d * cases.element_bytes();
  const double decay = is_per_channel ? tokens * d * 4 : 0;  // one a head: 1 % of a tensor
  // Forward: q, k, v, the decay and o. Backward: q, k, v, the decay, do and five gradients.
  cases.add_both(
      is_per_channel ? "delta rule, channel decay" : "delta rule, token decay",
      fmt::format("{} x {}, H {}, d {}", B, T, H, d),
      {tokens * (8 * C * d + 6 * d * d), 4 * tensor + decay},
      {tokens * (30 * C * d + 20 * d * d), 11 * tensor + 3 * decay},
      [=, options = cases.options(), wide = cases.wide_options()]() -> DifferentiableCall {
        const std::vector<int64_t> shape = {B, T, H, d}, heads = {B, T, H};
        const auto unit = [&] {
          const Tensor x = torch::randn(shape, options);
          return x / x.norm(2, -1, true);
        };
        const auto input = [scale = 1 / std::sqrt(static_cast<double>(d))](const Tensors& x) {
          return Recurrence{.q = x[0],
                            .k = x[1],
                            .v = x[2],
                            .decay = x[3],
                            .beta = x[4],
                            .is_delta = true,
                            .scale = scale,
                            .needs_state = false};
        };
        return {{unit(), unit(), torch::randn(shape, options),
                 torch::rand(is_per_channel ? shape : heads, wide), torch::rand(heads, wide)},
                [input](const Tensors& x) { return Tensors{recurrence_chunked(input(x)).output}; },
                [input](const Tensors& x) { return form_of(input(x)); }};
      });
}

/// Native Hybrid Attention's, of H query and G key heads.
struct SlotHeads {
  int64_t H, G, d;
};

void add_slot_attention(Cases& cases, const SlotHeads& heads, int64_t B, int64_t T) {
  const int64_t C = 64, M = 64, W = 64;  // C tokens a chunk
  const int64_t seen = W + C / 2;        // tokens that a query scores, on average
  const int64_t H = heads.H, G = heads.G, d = heads.d;
  B = cases.batch(B), T = cases.part(T);
  const double tokens = product_of({B, T}), b = cases.element_bytes();
  const double wide = tokens * product_of({H, d}) * b, narrow = tokens * product_of({G, d}) * b;
  const double decay = tokens * product_of({G, M}) * 4;
  const double flops =
      tokens * static_cast<double>(H) * 4 * static_cast<double>(C * d + C * M + d * M + seen * d);
  // Forward: two q, two k, v, the decay and o. Backward: the same inputs, do and six gradients; the
  // scores again and two products for each of theirs.
  cases.add_both(
      "slot attention", fmt::format("{} x {}, H {}, G {}, d {}", B, T, H, G, d),
      {flops, 3 * wide + 3 * narrow + decay}, {3.25 * flops, 8 * wide + 9 * narrow + 3 * decay},
      [=, options = cases.options(), floats = cases.wide_options()]() -> DifferentiableCall {
        const auto random = [&](int64_t n) { return torch::randn({B, T, n, d}, options); };
        const auto input = [d](const Tensors& x) {
          return SlotAttention{.q = x[0],
                               .rotated_q = x[1],
                               .k = x[2],
                               .rotated_k = x[3],
                               .v = x[4],
                               .decay = x[5],
                               .window = 64,
                               .scale = 1 / std::sqrt(static_cast<double>(d)),
                               .needs_slots = false};
        };
        return {{random(H), random(H), random(G), random(G), random(G),
                 torch::rand({B, T, G, M}, floats) * 0.2},
                [input](const Tensors& x) { return Tensors{slot_attention(input(x)).output}; },
                [input](const Tensors& x) { return form_of(input(x)); }};
      });
}

/// Mamba-2's recurrence.
void add_token_decay(Cases& cases, int64_t H, int64_t d, int64_t B, int64_t T) {
  constexpr int64_t C = 64;  // tokens a chunk
  B = cases.batch(B), T = cases.part(T);
  const double unit = product_of({B, T, H, C * d + d * d}), numbers = product_of({B, T, H}) * 4;
  const double tensor = product_of({B, T, H, d}) * cases.element_bytes();
  // Forward: q, k, v, o, the decay and beta. Backward: the same with do for o, and five gradients.
  cases.add_both(
      "recurrence, token decay", fmt::format("{} x {}, H {}, d {}", B, T, H, d),
      {4 * unit, 4 * tensor + 2 * numbers}, {14 * unit, 11 * tensor + 6 * numbers},
      [=, options = cases.options(), wide = cases.wide_options()]() -> DifferentiableCall {
        const auto random = [&] { return torch::randn({B, T, H, d}, options); };
        const auto input = [scale = 1 / std::sqrt(static_cast<double>(d))](const Tensors& x) {
          return Recurrence{.q = x[0],
                            .k = x[1],
                            .v = x[2],
                            .decay = x[3],
                            .beta = x[4],
                            .scale = scale,
                            .needs_state = false};
        };
        return {{random(), random(), random(), torch::rand({B, T, H}, wide) * 0.1,
                 torch::rand({B, T, H}, wide)},
                [input](const Tensors& x) { return Tensors{recurrence_chunked(input(x)).output}; },
                [input](const Tensors& x) { return form_of(input(x)); }};
      });
}

/// RWKV-7's recurrence.
void add_dplr(Cases& cases, int64_t B, int64_t T) {
  const int64_t C = 16, H = 32, d = 64;  // C tokens a chunk, of which products are fewest
  B = cases.batch(B), T = cases.part(T);
  const double tokens = product_of({B, T, H}), tensor = tokens * d * cases.element_bytes();
  const double decay = tokens * d * 4, flops = tokens * (16 * C * d + 8 * d * d);
  // Forward: r, k, a, b, v, the decay and o. Backward: the same with do for o, and six gradients.
  cases.add_both(
      "DPLR recurrence", fmt::format("{} x {}, H {}, d {}", B, T, H, d),
      {flops, 6 * tensor + decay}, {3.2 * flops, 17 * tensor + 3 * decay},
      [=, options = cases.options(), wide = cases.wide_options()]() -> DifferentiableCall {
        const std::vector<int64_t> shape = {B, T, H, d};
        const auto random = [&] { return torch::randn(shape, options); };
        const Tensor keys = random(), kappa = keys / keys.norm(2, -1, true);
        const auto input = [](const Tensors& x) {
          return DplrRecurrence{
              .r = x[0], .k = x[1], .a = x[2], .b = x[3], .v = x[4], .decay = x[5]};
        };
        return {{random(), random(), -kappa, kappa * torch::rand(shape, options), random(),
                 torch::rand(shape, wide) * 0.6},
                [input](const Tensors& x) { return Tensors{dplr_recurrence(input(x)).output}; },
                [input](const Tensors& x) { return form_of(input(x)); }};
      });
}

void add_norms(Cases& cases, int64_t n) {
  const int64_t rows = cases.part(16384);
  const std::string shape = fmt::format("[{}, {}]", rows, n);
  const double tensor = product_of({rows, n}) * cases.element_bytes();
  const auto random = [=, options = cases.options()] { return torch::randn({rows, n}, options); };
  const auto weight = [=, options = cases.wide_options()] { return torch::rand({n}, options); };
  // Forward: x and y. Backward: x, dy and dx.
  cases.add_both("rms_norm", shape, {0, 2 * tensor}, {0, (2 + 3) * tensor},
                 [=]() -> DifferentiableCall {
                   return {{random(), weight()},
                           [](const Tensors& x) { return Tensors{rms_norm(x[0], x[1], kEps)}; },
                           [](const Tensors& x) { return form_of_norm(x[0], x[1]); }};
                 });
  // Forward: x, delta, their sum and y. Backward: sum, dy, dsum and dx, which is ddelta.
  cases.add_both("add_rms_norm", shape, {0, 4 * tensor}, {0, (4 + 4) * tensor},
                 [=]() -> DifferentiableCall {
                   return {{random(), random(), weight()},
                           [](const Tensors& x) {
                             const auto [sum, normed] = add_rms_norm(x[0], x[1], x[2], kEps);
                             return Tensors{sum, normed};
                           },
                           [](const Tensors& x) { return form_of_norm(x[0], x[2]); }};
                 });
  // Forward: x, gate and y. Backward: x, gate, dy, dx and dgate.
  cases.add_both(
      "gated_rms_norm", shape, {0, 3 * tensor}, {0, (3 + 5) * tensor}, [=]() -> DifferentiableCall {
        return {{random(), weight(), random()},
                [](const Tensors& x) { return Tensors{gated_rms_norm(x[0], x[1], x[2], kEps)}; },
                [](const Tensors& x) { return form_of_norm(x[0], x[1]); }};
      });
}

void add_norm_rope(Cases& cases, int64_t heads, int64_t d) {
  const int64_t B = cases.batch(32), T = cases.part(512);
  const double tensor = product_of({B, T, heads, d}) * cases.element_bytes();
  const double angles = product_of({B, T, d}) * 4;  // cos and sin [B, T, d / 2] float32
  // Forward: x, angles and y. Backward: x, dy, angles and dx.
  cases.add_both(
      "norm_rope", fmt::format("[{}, {}, {}, {}]", B, T, heads, d), {0, 2 * tensor + angles},
      {0, (2 + 3) * tensor + 2 * angles},
      [=, options = cases.options(), wide = cases.wide_options()]() -> DifferentiableCall {
        const RopeAngles made =
            rope_angles(torch::arange(T).expand({B, T}), rope_frequencies(d, kRopeTheta));
        const RopeAngles on_device{made.cos.to(wide.device()), made.sin.to(wide.device())};
        return {{torch::randn({B, T, heads, d}, options), torch::rand({d}, wide)},
                [on_device](const Tensors& x) {
                  return Tensors{norm_rope(x[0], x[1], kEps, on_device)};
                },
                [on_device](const Tensors& x) { return form_of_rope(x[0], on_device); }};
      });
}

void add_gate(Cases& cases, const char* name, Tensor (*op)(const Tensor&, const Tensor&),
              int64_t n) {
  const int64_t rows = cases.part(16384);
  const double tensor = product_of({rows, n}) * cases.element_bytes();
  // Forward: two inputs and y. Backward: two inputs, dy and two gradients.
  cases.add_both(name, fmt::format("[{}, {}]", rows, n), {0, 3 * tensor}, {0, (3 + 5) * tensor},
                 [=, options = cases.options()]() -> DifferentiableCall {
                   const auto random = [&] { return torch::randn({rows, n}, options); };
                   return {{random(), random()},
                           [op](const Tensors& x) { return Tensors{op(x[0], x[1])}; },
                           [](const Tensors& x) { return form_of_gate(x[0], x[1]); }};
                 });
}

/// The student's head as training has it: a float32 weight whose gradient exists already, and the
/// copy that products read.
Weight trained_head(const InputSizes& cases, int64_t V, int64_t D) {
  const Tensor weight = torch::randn({V, D}, cases.wide_options()).mul_(0.02).requires_grad_();
  weight.mutable_grad() = torch::zeros_like(weight);
  if (cases.sizes.type() == torch::kFloat32) return {weight};
  return {weight, weight.detach().to(cases.sizes.type())};
}

void add_vocabulary_losses(Cases& cases, int64_t D, int64_t vocabulary) {
  const int64_t N = cases.part(16384), V = cases.part(vocabulary);
  const std::string shape = fmt::format("N {}, D {}, V {}", N, D, V);
  const double b = cases.element_bytes(), product = 2 * product_of({N, D, V});
  // hidden and its gradient, the weight, and the weight's float32 gradient read and written. The
  // logits do not count: they need not exist.
  const double bytes = product_of({N, D}) * 2 * b + product_of({V, D}) * (b + 8);
  // Three products: the logits, dz W and dz^T hidden; KL has the teacher's logits too.
  cases.add("linear + KL", shape,
            {4 * product, bytes + (product_of({N, D}) + product_of({V, D})) * b},
            [=, sizes = InputSizes(cases)] {
              const Tensor hidden = torch::randn({N, D}, sizes.options());
              const Tensor teacher = torch::randn({N, D}, sizes.options());
              const Weight head = trained_head(sizes, V, D);
              const Weight teacher_head{torch::randn({V, D}, sizes.options()).mul_(0.02)};
              return [=] {
                const LossGradient result = linear_kl(hidden, head, teacher, teacher_head);
                return Tensors{result.loss, result.hidden_gradient};
              };
            });
  cases.add("linear + cross-entropy", shape, {3 * product, bytes + product_of({N}) * 8},
            [=, sizes = InputSizes(cases)] {
              const Tensor hidden = torch::randn({N, D}, sizes.options());
              const Tensor targets = torch::randint(V, {N}, sizes.options().dtype(torch::kInt64));
              const Weight head = trained_head(sizes, V, D);
              return [=] {
                const LossGradient result = linear_cross_entropy(hidden, head, targets);
                return Tensors{result.loss, result.hidden_gradient};
              };
            });
}

void add_mean_squared_error(Cases& cases) {
  const int64_t rows = cases.part(16384), n = 2048;
  const auto random = [=, options = cases.options()] { return torch::randn({rows, n}, options); };
  // Output, expected and the output's gradient.
  cases.add("mean squared error", fmt::format("[{}, {}]", rows, n),
            {0, 3 * product_of({rows, n}) * cases.element_bytes()}, [random] {
              return [output = random(), expected = random()] {
                const SquaredError error = mean_squared_error(output, expected);
                return Tensors{error.parts, error.gradient};
              };
            });
}

/// What decode comes to, whose weights are read and not written. More than a cache holds.
void add_read(Cases& cases) {
  const int64_t words = int64_t{1} << 26;
  cases.add("read", "512 MiB", {0, product_of({words}) * 8}, [words] {
    return [x = torch::ones({words}, torch::kInt64)]() -> Tensors {
      return {torch::tensor(static_cast<int64_t>(read_all(x)))};
    };
  });
}

void add_softmax_attention(Cases& cases, const char* name, AttentionBackend backend, int64_t B,
                           int64_t T) {
  const int64_t H = 16, G = 8, d = 128;
  B = cases.batch(B), T = cases.part(T);
  // q k^T and its product with v over half of T x T; backward has five such products for two.
  const double flops = 4 * product_of({B, H, d, T, T}) / 2;
  // Forward: q, k, v and o. Backward: q, k, v, o, do and dq, dk, dv.
  const double token = product_of({B, T, d}) * cases.element_bytes();
  cases.add_both(name, fmt::format("{} x {}, H {}, G {}, d {}", B, T, H, G, d),
                 {flops, (2 * H + 2 * G) * token}, {3.5 * flops, (6 * H + 6 * G) * token},
                 [=, options = cases.options()]() -> DifferentiableCall {
                   const auto random = [&](int64_t heads) {
                     return torch::randn({B, T, heads, d}, options);
                   };
                   return {{random(H), random(G), random(G)},
                           [backend](const Tensors& x) {
                             return Tensors{causal_attention(x[0], x[1], x[2], {}, backend)};
                           },
                           [](const Tensors& x) { return form_of_attention(x[0], x[1], x[2]); }};
                 });
}

}  // namespace

std::vector<KernelCase> ceiling_cases(const KernelSizes& sizes) {
  // A GPU's ceilings are full size in quick runs too: they take milliseconds.
  const int64_t n = sizes.device.is_cuda() ? 8192 : 512;
  Cases cases{{sizes}};
  cases.all = {product_case(n, cases.options()), copy_case(cases.options())};
  if (sizes.device.is_cpu()) add_read(cases);
  return cases.all;
}

std::vector<KernelCase> kernel_cases(const KernelSizes& sizes) {
  Cases cases{{sizes}};
  using Shape = std::pair<int64_t, int64_t>;  // B, T
  const Shape shapes[] = {{32, 512}, {8, 4096}, {2, 16384}, {1, 131072}};
  for (const auto& [B, T] : shapes) add_lightning(cases, 16, 128, B, T);
  for (const auto& [B, T] : {Shape{32, 512}, {8, 4096}}) add_lightning(cases, 9, 64, B, T);
  if (sizes.device.is_cuda()) {  // with gradients a CPU has tensor code alone
    for (const bool is_per_channel : {false, true})
      for (const auto& [B, T] : shapes) add_delta_rule(cases, is_per_channel, B, T);
    for (const auto& [B, T] : shapes) add_slot_attention(cases, {16, 8, 128}, B, T);
    for (const auto& [B, T] : {Shape{32, 512}, {8, 4096}})
      add_slot_attention(cases, {9, 3, 64}, B, T);
    for (const auto& [B, T] : shapes) add_token_decay(cases, 16, 128, B, T);
    for (const auto& [B, T] : {Shape{32, 512}, {8, 4096}}) add_token_decay(cases, 9, 64, B, T);
    for (const auto& [B, T] : shapes) add_dplr(cases, B, T);
  }
  add_step_cases(cases);
  for (const int64_t D : {2048, 576}) add_norms(cases, D);
  add_norm_rope(cases, 16, 128);
  add_norm_rope(cases, 9, 64);
  for (const int64_t n : {6144, 1536}) add_gate(cases, "swiglu", swiglu, n);
  for (const int64_t D : {2048, 576}) add_gate(cases, "sigmoid_gate", sigmoid_gate, D);
  add_vocabulary_losses(cases, 2048, 151936);
  add_vocabulary_losses(cases, 576, 49152);
  add_mean_squared_error(cases);
  for (const auto& [B, T] : {Shape{32, 512}, {2, 16384}}) {
    if (sizes.device.is_cuda()) {
      add_softmax_attention(cases, "softmax attention cuDNN", AttentionBackend::kCudnn, B, T);
      add_softmax_attention(cases, "softmax attention flash", AttentionBackend::kFlash, B, T);
    } else {
      add_softmax_attention(cases, "softmax attention", AttentionBackend::kAutomatic, B, T);
    }
  }
  return cases.all;
}

}  // namespace hypenet
