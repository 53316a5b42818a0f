// Three forms: device kernels for bfloat16 on a GPU, CPU kernels for float32 rows (a thread takes a
// run of outputs, cut into cache lines of 16, for all rows, so that its weights go through memory
// once), and the ops of a whole sequence, one after the other, for all other types and devices.
#include "ops/linear_step.h"

#include <ATen/Parallel.h>
#include <c10/core/DeviceGuard.h>

#include <algorithm>
#include <array>
#include <memory>
#include <optional>

#include "kernels/device.h"
#include "kernels/linear.h"
#include "kernels/packed_linear.h"
#include "ops/form.h"
#include "ops/gating.h"
#include "ops/linear.h"
#include "ops/norm.h"
#include "ops/stream.h"
#include "ops/types.h"

namespace hypenet {
namespace {

using kernels::DType;
using kernels::kLinearUnit;

// So many rows the device kernel prepares by itself, more perhaps: of very long rows not so many.
constexpr int64_t kRowsWithoutSpace = 4;
constexpr size_t kMostLayers = 6;
static_assert(kMostLayers <= kernels::cuda::kMostStepLayers);
constexpr int64_t kGrain = 65536;  // products a task on a CPU: a fork and join costs about as much
constexpr int64_t kPackGrain = 16384;  // numbers a task

void check_layer(const LinearWeights& layer, const Tensor& x) {
  const Tensor &weight = layer.weight.read(), &bias = layer.bias.read();
  const bool is_packed = layer.weight.packed != nullptr;
  HYPENET_CHECK(weight.defined() && weight.dim() == 2 && weight.size(1) == x.size(1),
                "linear_step: expected weights [out, ", x.size(1), "] for x ", x.sizes(),
                ", found ", weight.defined() ? c10::str(weight.sizes()) : "no tensor");
  const bool is_narrower =
      x.scalar_type() == torch::kFloat32 && weight.scalar_type() == torch::kBFloat16;
  HYPENET_CHECK(weight.scalar_type() == x.scalar_type() || is_narrower || is_packed,
                "linear_step: weight: expected type ", x.scalar_type(), ", found ",
                weight.scalar_type());
  HYPENET_CHECK(weight.device() == x.device(), "linear_step: weight: expected device ", x.device(),
                ", found ", weight.device());
  if (!bias.defined()) return;
  check_shape("linear_step: bias", bias, {weight.size(0)});
  // The CPU's kernels have it cast.
  if (!is_packed && !is_narrower) check_alike("linear_step: bias", bias, weight);
}

void check_input(const LinearStepInput& input) {
  const Tensor& x = input.x;
  HYPENET_CHECK(x.defined() && x.dim() == 2, "linear_step: expected x [N, K], found ",
                x.defined() ? c10::str(x.sizes()) : "no tensor");
  HYPENET_CHECK(x.scalar_type() == torch::kFloat32 || x.scalar_type() == torch::kBFloat16 ||
                    x.scalar_type() == torch::kFloat64,
                "linear_step: x: expected type float32, bfloat16 or float64, found ",
                x.scalar_type());
  HYPENET_CHECK(!input.layers.empty() && input.layers.size() <= kMostLayers,
                "linear_step: expected 1 to ", kMostLayers, " layers, found ", input.layers.size());
  for (const LinearWeights& layer : input.layers) check_layer(layer, x);
  if (input.norm_weight.defined()) {
    check_shape("linear_step: norm_weight", input.norm_weight, {x.size(1)});
    HYPENET_CHECK(input.norm_weight.device() == x.device(),
                  "linear_step: norm_weight: expected device ", x.device(), ", found ",
                  input.norm_weight.device());
  }
  if (input.gate.defined()) {
    check_shape("linear_step: gate", input.gate, x.sizes());
    check_alike("linear_step: gate", input.gate, x);
  }
  if (input.is_swiglu) {
    HYPENET_CHECK(input.layers.size() == 2 && !input.residual.defined(),
                  "linear_step: expected two layers and no residual with SwiGLU, found ",
                  input.layers.size(), input.residual.defined() ? " and one" : "");
    check_shape("linear_step: SwiGLU's second weight", input.layers[1].weight.read(),
                input.layers[0].weight.read().sizes());
  }
  if (!input.residual.defined()) return;
  HYPENET_CHECK(input.layers.size() == 1 && !input.has_float_output,
                "linear_step: expected one layer and no float32 output with a residual, found ",
                input.layers.size(), input.has_float_output ? " and one" : "");
  check_shape("linear_step: residual", input.residual,
              {x.size(0), input.layers[0].weight.read().size(0)});
  check_alike("linear_step: residual", input.residual, x);
}

torch::ScalarType output_type(const LinearStepInput& input) {
  return input.has_float_output ? torch::kFloat32 : input.x.scalar_type();
}

/// x after norm and gate, in its type.
Tensor prepared(const LinearStepInput& input) {
  const Tensor &x = input.x, &weight = input.norm_weight, &gate = input.gate;
  if (weight.defined() && gate.defined()) return gated_rms_norm(x, weight, gate, input.eps);
  if (weight.defined()) return rms_norm(x, weight, input.eps);
  return gate.defined() ? sigmoid_gate(x, gate) : x;
}

std::vector<Tensor> linear_step_composed(const LinearStepInput& input) {
  const torch::ScalarType wide = sum_type(input.x), type = input.x.scalar_type();
  const Tensor x = prepared(input).to(wide);
  std::vector<Tensor> outputs;
  for (const LinearWeights& layer : input.layers) {
    outputs.push_back(product(x, layer.weight.in_type(wide)));
    if (layer.bias.defined()) outputs.back() = outputs.back() + layer.bias.read().to(wide);
  }
  if (input.residual.defined()) {
    Tensor residual = input.residual;
    residual.copy_(residual.to(wide) + outputs[0]);
    return {};
  }
  if (input.is_swiglu)
    return {swiglu(outputs[0].to(type), outputs[1].to(type)).to(output_type(input))};
  for (Tensor& output : outputs) output = output.to(output_type(input));
  return outputs;
}

bool is_dense(const Tensor& x) { return x.is_contiguous() && is_aligned(x); }

/// Whether the device kernels take this input; weights and the residual must lie as they are.
bool suits_device(const LinearStepInput& input) {
  const bool suits =
      suits_cuda_kernels({input.x, input.norm_weight}) && input.x.scalar_type() == torch::kBFloat16;
  if (!suits || input.x.size(1) == 0 || input.x.size(1) % 8 != 0) return false;
  if (input.residual.defined() && !is_dense(input.residual)) return false;
  return std::ranges::all_of(input.layers, [](const LinearWeights& layer) {
    return is_dense(layer.weight.read()) &&
           (!layer.bias.defined() || layer.bias.read().is_contiguous());
  });
}

/// These may be undefined.
bool is_row(const Tensor& x) { return !x.defined() || suits_cpu_kernels({x}); }

bool is_weight(const Tensor& x) {
  return is_row(x) || (x.is_cpu() && x.scalar_type() == torch::kBFloat16);
}

/// Whether all is on the CPU: x, gate and residual float32, weights, biases and the norm's weight
/// each float32 or bfloat16.
bool suits_cpu(const LinearStepInput& input) {
  return suits_cpu_kernels({input.x}) && is_row(input.gate) && is_row(input.residual) &&
         is_weight(input.norm_weight) &&
         std::ranges::all_of(input.layers, [](const LinearWeights& layer) {
           return is_weight(layer.weight.read()) && is_weight(layer.bias.read());
         });
}

std::vector<Tensor> linear_step_cuda(const LinearStepInput& input) {
  const c10::DeviceGuard on_device(input.x.device());
  const Tensor x = dense(input.x), gate = dense(input.gate);
  const Tensor norm_weight = dense(input.norm_weight);
  const int64_t N = x.size(0);
  const bool is_prepared = norm_weight.defined() || gate.defined();
  const Tensor space = is_prepared && N > kRowsWithoutSpace ? torch::empty_like(x) : Tensor();
  kernels::cuda::LinearStepParams params{
      .x = x.const_data_ptr(),
      .norm_weight = data_or_null(norm_weight),
      .gate = data_or_null(gate),
      .prepared = space.defined() ? space.mutable_data_ptr() : nullptr,
      .layers = {},
      .layer_count = static_cast<int64_t>(input.layers.size()),
      .rows = N,
      .size = x.size(1),
      .is_swiglu = input.is_swiglu,
      .adds_to_out = input.residual.defined(),
      .has_float_output = input.has_float_output,
      .norm_type = norm_weight.defined() ? kernel_type(norm_weight) : DType::kBFloat16,
      .eps = static_cast<float>(input.eps)};
  std::vector<Tensor> outputs;
  for (size_t i = 0; i < input.layers.size(); ++i) {
    const Tensor &weight = input.layers[i].weight.read(), &bias = input.layers[i].bias.read();
    const int64_t rows = weight.size(0);
    Tensor out = input.residual;
    if (!out.defined() && !(input.is_swiglu && i == 1)) {
      out = torch::empty({N, rows}, x.options().dtype(output_type(input)));
      outputs.push_back(out);
    }
    params.layers[i] = {.weight = weight.const_data_ptr(),
                        .bias = data_or_null(bias),
                        .out = out.defined() ? out.mutable_data_ptr() : nullptr,
                        .rows = rows};
  }
  throw_unless_ok("linear_step", kernels::device_kernels().linear_step(params, current_stream(x)));
  return outputs;
}

/// x, or a copy, with rows that are contiguous; undefined stays undefined.
Tensor with_whole_rows(const Tensor& x) {
  return !x.defined() || x.stride(1) == 1 || x.size(1) == 1 ? x : x.contiguous();
}

torch::ScalarType torch_type(DType type) {
  return type == DType::kBFloat16 ? torch::kBFloat16 : torch::kFloat32;
}

/// The rows of a call and what comes before the products, as kernels take them.
struct RowsBefore {
  explicit RowsBefore(const LinearStepInput& input)
      : x(with_whole_rows(input.x)),
        gate(with_whole_rows(input.gate)),
        norm(input.norm_weight.defined() ? input.norm_weight.contiguous() : Tensor()),
        params{.x = x.const_data_ptr<float>(),
               .norm_weight = data_or_null(norm),
               .gate = gate.defined() ? gate.const_data_ptr<float>() : nullptr,
               .y = nullptr,
               .size = x.size(1),
               .x_row = x.stride(0),
               .gate_row = gate.defined() ? gate.stride(0) : 0,
               .norm_type = norm.defined() ? kernel_type(norm) : DType::kFloat32,
               .weight_type = DType::kFloat32,
               .y_type = DType::kFloat32,
               .eps = static_cast<float>(input.eps)} {}

  Tensor x, gate, norm;
  kernels::PackRowsParams params;
};

/// `work` on rows begin .. end - 1, by as many threads as they are worth.
template <class Work>
void for_rows(const Tensor& x, const Work& work) {
  at::parallel_for(0, x.size(0), kPackGrain / (x.size(1) + 1) + 1, work);
}

/// The rows after norm and gate, as the kernel reads them for weights of this type.
Tensor packed_rows(const LinearStepInput& input, DType weight_type) {
  RowsBefore before(input);
  const DType type = kernels::packed_type(weight_type);
  const Tensor packed = torch::empty({input.x.size(0), kernels::packed_size(before.params.size)},
                                     input.x.options().dtype(torch_type(type)));
  before.params.y = packed.mutable_data_ptr();
  before.params.weight_type = weight_type, before.params.y_type = type;
  for_rows(input.x,
           [&](int64_t begin, int64_t end) { kernels::pack_rows(before.params, begin, end); });
  return packed;
}

/// Rows rounded for packed weights. Few rows every task rounds for itself: they come from what all
/// threads wrote, and handing them on would take as long again.
class RoundedRows {
 public:
  explicit RoundedRows(const LinearStepInput& input)
      : before_(input), rows_(input.x.size(0)), is_few_(input.x.numel() <= kPackGrain) {
    if (is_few_) return;
    shared_ = blocks();
    for_rows(input.x, [this](int64_t begin, int64_t end) {
      kernels::round_rows(before_.params, shared_.get(), begin, end);
    });
  }

  /// For a task, which holds `own` as long as it reads them.
  const kernels::RowBlock* get(std::unique_ptr<kernels::RowBlock[]>& own) const {
    if (!is_few_) return shared_.get();
    own = blocks();
    kernels::round_rows(before_.params, own.get(), 0, rows_);
    return own.get();
  }

 private:
  std::unique_ptr<kernels::RowBlock[]> blocks() const {
    constexpr int64_t kPadding = kernels::kRowPadding;
    const int64_t rows = (rows_ + kPadding - 1) / kPadding * kPadding;
    const int64_t count = rows * kernels::packed_blocks(before_.params.size);
    return std::make_unique_for_overwrite<kernels::RowBlock[]>(static_cast<size_t>(count));
  }

  RowsBefore before_;
  int64_t rows_;
  bool is_few_;
  std::unique_ptr<kernels::RowBlock[]> shared_;
};

/// One layer's product: by the kernel of its weight's form.
struct StepProduct {
  kernels::LinearParams plain;
  const PackedWeight* packed = nullptr;  // then `plain` has no weight

  int64_t units() const { return (plain.out + kLinearUnit - 1) / kLinearUnit; }
  bool is_rounded() const { return packed != nullptr && packed->activations == Activations::kInt8; }

  /// The outputs of units first .. last - 1; `rounded` are the rows where they are to be rounded.
  void run(const kernels::RowBlock* rounded, int64_t first, int64_t last) const {
    if (packed == nullptr) {
      kernels::linear(plain, first * kLinearUnit, std::min(last * kLinearUnit, plain.out));
    } else if (is_rounded()) {
      kernels::packed_linear({.x = rounded,
                              .weight = packed->matrix,
                              .bias = static_cast<const float*>(plain.bias),
                              .y = plain.y,
                              .rows = plain.rows,
                              .y_row = plain.y_row,
                              .adds = plain.adds},
                             first, last);
    } else {
      for (int64_t unit = first; unit < last; ++unit) run_expanded(unit);
    }
  }

  /// The outputs of a unit, whose weights are expanded first.
  void run_expanded(int64_t unit) const {
    const int64_t begin = unit * kLinearUnit, count = std::min(kLinearUnit, plain.out - begin);
    std::vector<float> rows(static_cast<size_t>(count * plain.size));
    for (int64_t i = 0; i < count; ++i) {
      kernels::expand_packed_row(packed->matrix, begin + i, rows.data() + i * plain.size);
    }
    kernels::LinearParams params = plain;
    params.weight = rows.data(), params.y += begin, params.out = count;
    if (plain.bias != nullptr) params.bias = static_cast<const float*>(plain.bias) + begin;
    kernels::linear(params, 0, count);
  }
};
static_assert(kLinearUnit == kernels::kPackedRows);

/// The products of one call and how they are cut among threads.
struct Products {
  std::vector<StepProduct> layers;
  std::vector<Tensor> kept;  // what the pointers point into
  std::optional<RoundedRows> rounded;

  /// The rounded rows, where some layer wants them.
  const kernels::RowBlock* rounded_rows(std::unique_ptr<kernels::RowBlock[]>& own) const {
    return rounded ? rounded->get(own) : nullptr;
  }

  /// Units begin .. end - 1 of all layers, one after the other.
  void run(int64_t begin, int64_t end) const {
    std::unique_ptr<kernels::RowBlock[]> own;
    const kernels::RowBlock* const rows = rounded_rows(own);
    for (const StepProduct& layer : layers) {
      const int64_t units = layer.units();
      const int64_t first = std::max<int64_t>(begin, 0), last = std::min(end, units);
      if (first < last) layer.run(rows, first, last);
      begin -= units, end -= units;
    }
  }
};

/// `work` on the units 0 .. count - 1, each of 16 x `products` products.
template <class Work>
void for_units(int64_t count, int64_t products, const Work& work) {
  at::parallel_for(0, count, kGrain / (kLinearUnit * products + 1) + 1, work);
}

/// The layers' products into `outputs` [N, out], to which they are added if `adds`.
Products products_into(const LinearStepInput& input, const std::vector<Tensor>& outputs,
                       bool adds) {
  Products products;
  std::array<Tensor, 2> ready;  // rows for each type of plain weights
  for (size_t i = 0; i < outputs.size(); ++i) {
    const LinearWeights& layer = input.layers[i];
    StepProduct product{.plain = {}, .packed = layer.weight.packed.get()};
    const bool is_plain = product.packed == nullptr;
    const Tensor weight = is_plain ? layer.weight.read().contiguous() : Tensor();
    const DType type = is_plain ? kernel_type(weight) : DType::kFloat32;
    Tensor bias = layer.bias.read();
    if (bias.defined()) bias = bias.to(torch_type(type)).contiguous();
    Tensor& x = ready[type == DType::kBFloat16 ? 1 : 0];
    if (product.is_rounded()) {
      if (!products.rounded) products.rounded.emplace(input);
    } else if (!x.defined()) {
      x = packed_rows(input, type);
    }
    product.plain = {.x = data_or_null(x),
                     .weight = data_or_null(weight),
                     .bias = data_or_null(bias),
                     .y = outputs[i].mutable_data_ptr<float>(),
                     .rows = input.x.size(0),
                     .size = input.x.size(1),
                     .out = layer.weight.read().size(0),
                     .y_row = outputs[i].stride(0),
                     .x_type = x.defined() ? kernel_type(x) : type,
                     .weight_type = type,
                     .adds = adds};
    products.layers.push_back(product);
    products.kept.insert(products.kept.end(), {weight, bias, x});
  }
  return products;
}

/// silu(first) * second in first's place, for the outputs begin .. end - 1.
void apply_swiglu(const Tensor& first, const Tensor& second, int64_t begin, int64_t end) {
  const kernels::GateParams params{.x = second.const_data_ptr(),
                                   .gate = first.const_data_ptr(),
                                   .y = first.mutable_data_ptr(),
                                   .count = first.numel(),
                                   .type = DType::kFloat32};
  for (int64_t n = 0; n < first.size(0); ++n) {
    kernels::swiglu(params, n * first.size(1) + begin, n * first.size(1) + end);
  }
}

/// One parallel region; for many rows one more ahead of it.
std::vector<Tensor> linear_step_cpu(const LinearStepInput& input) {
  const int64_t N = input.x.size(0), K = input.x.size(1);
  const bool adds = input.residual.defined();
  std::vector<Tensor> outputs;
  for (const LinearWeights& layer : input.layers) {
    outputs.push_back(adds ? with_whole_rows(input.residual)
                           : torch::empty({N, layer.weight.read().size(0)}, input.x.options()));
  }
  const Products products = products_into(input, outputs, adds);
  if (input.is_swiglu) {
    const StepProduct &gate = products.layers[0], &up = products.layers[1];
    for_units(gate.units(), 2 * K * N, [&](int64_t first, int64_t last) {
      std::unique_ptr<kernels::RowBlock[]> own;
      const kernels::RowBlock* const rows = products.rounded_rows(own);
      gate.run(rows, first, last), up.run(rows, first, last);
      apply_swiglu(outputs[0], outputs[1], first * kLinearUnit,
                   std::min(last * kLinearUnit, gate.plain.out));
    });
    return {outputs[0]};
  }
  int64_t units = 0;
  for (const StepProduct& layer : products.layers) units += layer.units();
  for_units(units, K * N, [&](int64_t begin, int64_t end) { products.run(begin, end); });
  if (!adds) return outputs;
  if (!outputs[0].is_same(input.residual)) Tensor(input.residual).copy_(outputs[0]);
  return {};
}

}  // namespace

Form form_of(const LinearStepInput& input) {
  if (suits_device(input)) return Form::kDevice;
  return suits_cpu(input) ? Form::kCpu : Form::kComposed;
}

std::vector<Tensor> linear_step(const LinearStepInput& input) {
  const torch::NoGradGuard no_grad;
  check_input(input);
  switch (form_of(input)) {
    case Form::kDevice:
      return linear_step_cuda(input);
    case Form::kCpu:
      return linear_step_cpu(input);
    case Form::kComposed:
      return linear_step_composed(input);
  }
  throw Error("linear_step: unknown form");
}

}  // namespace hypenet
