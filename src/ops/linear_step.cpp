// Three forms: device kernels for bfloat16 on a GPU, CPU kernels for float32 rows, and the ops of a
// whole sequence, one after the other, for every other type and device.
#include "ops/linear_step.h"

#include <c10/core/DeviceGuard.h>

#include <algorithm>

#include "kernels/device.h"
#include "ops/form.h"
#include "ops/gating.h"
#include "ops/linear.h"
#include "ops/linear_step_cpu.h"
#include "ops/norm.h"
#include "ops/stream.h"
#include "ops/types.h"

namespace hypenet {
namespace {

// So many rows the device kernel prepares by itself, more perhaps: of very long rows not so many.
constexpr int64_t kRowsWithoutSpace = 4;
constexpr size_t kMostLayers = 4;
static_assert(kMostLayers <= kernels::cuda::kMostStepLayers);

void check_layer(const LinearWeights& layer, const Tensor& x) {
  const Tensor &weight = layer.weight.read(), &bias = layer.bias.read();
  HYPENET_CHECK(weight.defined() && weight.dim() == 2 && weight.size(1) == x.size(1),
                "linear_step: expected weights [out, ", x.size(1), "] for x ", x.sizes(),
                ", found ", weight.defined() ? c10::str(weight.sizes()) : "no tensor");
  const bool is_narrower =
      x.scalar_type() == torch::kFloat32 && weight.scalar_type() == torch::kBFloat16;
  HYPENET_CHECK(weight.scalar_type() == x.scalar_type() || is_narrower,
                "linear_step: weight: expected type ", x.scalar_type(), ", found ",
                weight.scalar_type());
  HYPENET_CHECK(weight.device() == x.device(), "linear_step: weight: expected device ", x.device(),
                ", found ", weight.device());
  if (!bias.defined()) return;
  check_shape("linear_step: bias", bias, {weight.size(0)});
  check_alike("linear_step: bias", bias, weight);
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
    outputs.push_back(product(x, layer.weight.read().to(wide)));
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
  const auto data = [](const Tensor& t) { return t.defined() ? t.const_data_ptr() : nullptr; };
  kernels::cuda::LinearStepParams params{
      .x = x.const_data_ptr(),
      .norm_weight = data(norm_weight),
      .gate = data(gate),
      .prepared = space.defined() ? space.mutable_data_ptr() : nullptr,
      .layers = {},
      .layer_count = static_cast<int64_t>(input.layers.size()),
      .rows = N,
      .size = x.size(1),
      .is_swiglu = input.is_swiglu,
      .adds_to_out = input.residual.defined(),
      .has_float_output = input.has_float_output,
      .norm_type = norm_weight.defined() ? kernel_type(norm_weight) : kernels::DType::kBFloat16,
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
                        .bias = data(bias),
                        .out = out.defined() ? out.mutable_data_ptr() : nullptr,
                        .rows = rows};
  }
  throw_unless_ok("linear_step", kernels::device_kernels().linear_step(params, current_stream(x)));
  return outputs;
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
