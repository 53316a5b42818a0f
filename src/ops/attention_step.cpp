// Checks, the choice of a form, and the definition row by row in tensor code, which serves the
// types and head sizes that the kernels do not take.
#include "ops/attention_step.h"

#include <cmath>
#include <limits>
#include <vector>

#include "ops/attention_step_forms.h"
#include "ops/form.h"
#include "ops/norm.h"
#include "ops/stream.h"
#include "ops/types.h"

namespace hypenet {
namespace {

struct Sizes {
  int64_t N, H, G, d;
};

void check_numbers(const char* place, const Tensor& x, torch::IntArrayRef shape, const Tensor& q) {
  check_shape(place, x, shape);
  HYPENET_CHECK(x.scalar_type() == torch::kInt32 && x.is_contiguous() && x.device() == q.device(),
                place, ": expected int32, contiguous, on ", q.device());
}

void check_optional(const AttentionStepInput& input, const Sizes& sizes) {
  HYPENET_CHECK(input.q_weight.defined() == input.k_weight.defined(),
                "attention_step: expected norms of both q and k or of neither");
  if (input.q_weight.defined()) {
    check_shape("attention_step: q_weight", input.q_weight, {sizes.d});
    check_shape("attention_step: k_weight", input.k_weight, {sizes.d});
    check_alike("attention_step: k_weight", input.k_weight, input.q_weight);
  }
  if (input.angles.cos.defined()) {
    check_shape("attention_step: angles", input.angles.cos, {sizes.N, sizes.d / 2});
    check_shape("attention_step: angles: sin", input.angles.sin, {sizes.N, sizes.d / 2});
  }
  for (const Tensor& x : {input.angles.cos, input.angles.sin, input.query_scale}) {
    HYPENET_CHECK(!x.defined() || x.scalar_type() == torch::kFloat32,
                  "attention_step: expected angles and query_scale in float32, found ",
                  x.scalar_type());
  }
  if (input.query_scale.defined()) {
    check_shape("attention_step: query_scale", input.query_scale, {sizes.N});
  }
  if (input.gate.defined()) {
    check_shape("attention_step: gate", input.gate, input.q.sizes());
    check_alike("attention_step: gate", input.gate, input.q);
  }
}

Sizes checked_sizes(const AttentionStepInput& input) {
  check_kv_pages("attention_step", input.cache, input.q);
  const int64_t G = input.cache.heads(), d = input.cache.head_size();
  HYPENET_CHECK(input.q.dim() == 2 && input.q.size(1) > 0 && input.q.size(1) % (G * d) == 0,
                "attention_step: expected q [N, H d] with query heads in whole groups of ", G,
                " key heads of ", d, ", found ", input.q.sizes());
  const Sizes sizes{input.q.size(0), input.q.size(1) / d, G, d};
  check_shape("attention_step: k", input.k, {sizes.N, G * d});
  check_shape("attention_step: v", input.v, {sizes.N, G * d});
  check_alike("attention_step: k", input.k, input.q);
  check_alike("attention_step: v", input.v, input.q);
  HYPENET_CHECK(input.page_table.defined() && input.page_table.dim() == 2,
                "attention_step: page_table: expected [slots, pages]");
  check_numbers("attention_step: page_table", input.page_table, input.page_table.sizes(), input.q);
  check_numbers("attention_step: slots", input.slots, {sizes.N}, input.q);
  check_numbers("attention_step: positions", input.positions, {sizes.N}, input.q);
  check_optional(input, sizes);
  return sizes;
}

/// Row n of x [N, heads d] normed and rotated in the type of sums, [heads, d].
Tensor ready(const Tensor& x, int64_t n, const Tensor& weight, const AttentionStepInput& input) {
  Tensor y = x[n].to(sum_type(x)).reshape({1, 1, -1, input.cache.head_size()});
  if (weight.defined()) y = rms_norm(y, weight, input.eps);
  const RopeAngles& angles = input.angles;
  if (angles.cos.defined()) {
    y = apply_rope(y, {angles.cos.narrow(0, n, 1), angles.sin.narrow(0, n, 1)});
  }
  return y.flatten(0, 2);
}

/// A row's sequence, without a look at the numbers where they lie on a GPU.
struct RowPages {
  RowPages(const AttentionStepInput& input, int64_t n) {
    const int64_t P = input.cache.page_tokens(), most = input.page_table.size(1) * P;
    is_real = input.slots.narrow(0, n, 1) >= 0;
    position = input.positions.narrow(0, n, 1).to(torch::kInt64).clamp(0, most - 1);
    const Tensor slot = input.slots.narrow(0, n, 1).clamp_min(0);
    // What stands in the table beyond the sequence is nobody's promise.
    pages = input.page_table.index_select(0, slot).squeeze(0).to(torch::kInt64);
    pages = pages.clamp(0, input.cache.pages() - 1);
    place = places_in_pages(pages, position, P);
    tokens = position.is_cpu() ? position.item<int64_t>() + 1 : most;
    pages = pages.narrow(0, 0, (tokens + P - 1) / P);
  }
  Tensor is_real;   // bool [1]: not padding
  Tensor position;  // int64 [1]
  Tensor pages;     // int64 [n], what `tokens` take
  Tensor place;     // int64 [1]: of the row's token in [pages P, G, d]
  int64_t tokens;   // the row sees no more
};

/// The output of a row, [H, d], for q [H, d].
Tensor attend(const RowPages& row, const Tensor& q, const KvPages& cache) {
  const int64_t G = cache.heads(), d = cache.head_size();
  const Tensor is_seen = torch::arange(row.tokens, row.position.options()) <= row.position;
  const auto [keys, values] = cache.read(row.pages, row.tokens, q.scalar_type());
  const Tensor zero = torch::zeros({}, q.options()), seen = is_seen.view({-1, 1, 1});
  const Tensor k = torch::where(seen, keys, zero), v = torch::where(seen, values, zero);
  const Tensor scores = torch::bmm(q.view({G, -1, d}), k.permute({1, 2, 0})) /
                        std::sqrt(static_cast<double>(d));  // [G, H / G, tokens]
  const Tensor weights =
      scores.masked_fill(is_seen.logical_not(), -std::numeric_limits<double>::infinity())
          .softmax(-1);
  return torch::bmm(weights, v.transpose(0, 1)).view({-1, d});
}

Tensor step_composed(const AttentionStepInput& input, const Sizes& sizes) {
  std::vector<RowPages> rows;
  for (int64_t n = 0; n < sizes.N; ++n) {
    rows.emplace_back(input, n);
    const Tensor key = ready(input.k, n, input.k_weight, input);
    const Tensor value = input.v[n].view({sizes.G, sizes.d});
    input.cache.write(rows.back().place, {key.unsqueeze(0), value.unsqueeze(0)},
                      rows.back().is_real);
  }
  const Tensor o = torch::empty(input.q.sizes(), input.q.options().dtype(sum_type(input.q)));
  for (int64_t n = 0; n < sizes.N; ++n) {
    Tensor q = ready(input.q, n, input.q_weight, input);
    if (input.query_scale.defined()) q = q * input.query_scale[n];
    Tensor y = attend(rows[static_cast<size_t>(n)], q, input.cache).flatten();
    if (input.gate.defined()) y = y * torch::sigmoid(input.gate[n].to(y.scalar_type()));
    o[n].copy_(
        torch::where(rows[static_cast<size_t>(n)].is_real, y, torch::zeros({}, y.options())));
  }
  return o.to(input.q.scalar_type());
}

bool suits_device(const AttentionStepInput& input) {
  return suits_cuda_kernels({input.q, input.q_weight, input.angles.cos, input.query_scale}) &&
         input.q.scalar_type() == torch::kBFloat16 && suit_step_kernel(input.cache) &&
         input.q.size(1) <= kMostStepGroup * input.cache.heads() * input.cache.head_size();
}

bool suits_cpu(const AttentionStepInput& input) {
  const auto suits = [](const Tensor& x) { return !x.defined() || suits_cpu_kernels({x}); };
  return suits(input.q) && suits(input.angles.cos) && suits(input.angles.sin) &&
         suits(input.query_scale) && suit_step_kernel(input.cache);
}

}  // namespace

kernels::AttentionStepParams step_params(const AttentionStepInput& input, const Tensor& o) {
  const auto data = [](const Tensor& x) { return x.defined() ? x.const_data_ptr() : nullptr; };
  const Tensor& weight = input.q_weight;
  return {.q = data(input.q),
          .k = data(input.k),
          .v = data(input.v),
          .q_weight = data(weight),
          .k_weight = data(input.k_weight),
          .cos = floats_or_null(input.angles.cos),
          .sin = floats_or_null(input.angles.sin),
          .query_scale = floats_or_null(input.query_scale),
          .gate = data(input.gate),
          .o = o.mutable_data_ptr(),
          .pages = kernel_pages(input.cache),
          .page_table = input.page_table.const_data_ptr<int32_t>(),
          .slots = input.slots.const_data_ptr<int32_t>(),
          .positions = input.positions.const_data_ptr<int32_t>(),
          .table_width = input.page_table.size(1),
          .rows = input.q.size(0),
          .heads = input.q.size(1) / input.cache.head_size(),
          .weight_type = weight.defined() ? kernel_type(weight) : kernels::DType::kFloat32,
          .eps = static_cast<float>(input.eps),
          .parts = nullptr};
}

Form form_of(const AttentionStepInput& input) {
  if (suits_device(input)) return Form::kDevice;
  return suits_cpu(input) ? Form::kCpu : Form::kComposed;
}

Tensor attention_step(const AttentionStepInput& input) {
  const torch::NoGradGuard no_grad;
  const Sizes sizes = checked_sizes(input);
  switch (form_of(input)) {
    case Form::kDevice:
      return attention_step_cuda(input);
    case Form::kCpu:
      return attention_step_cpu(input);
    case Form::kComposed:
      return step_composed(input, sizes);
  }
  throw Error("attention_step: unknown form");
}

}  // namespace hypenet
