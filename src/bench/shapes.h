// Model shapes that are measured with random weights.
#pragma once

#include <string>
#include <vector>

#include "halo/twins/twin_rule.h"
#include "model/causal_lm.h"

namespace hypenet {

struct BenchShape {
  ModelConfig teacher;
  std::vector<int64_t> attention_layers;     // of the student; floor(L / 4), spread evenly
  int64_t batch = 0, context = 0;            // of stages 1 and 2, unless told otherwise
  int64_t long_batch = 0, long_context = 0;  // of stage 3
  std::string mixer = std::string(twin_rules()[0]->mixer->name);  // of the student's other layers

  /// The HypeNet of this teacher with attention in these layers.
  ModelConfig student(const std::vector<int64_t>& attention) const;
};

/// What bench_shape and inference_shape take, in words for helps and errors.
std::string training_shapes();
std::string inference_shapes();

/// "hypenet-2b" (Qwen3-1.7B), "hypenet-5b" (-4B), "hypenet-9b" (-8B), "smollm2-135m" or "tiny",
/// and behind a colon a mixer, "hypenet-2b:gdn"; without one it is lightning attention. Throws
/// Error naming these for another word.
BenchShape bench_shape(const std::string& name);

/// Random weights made on the device: a CPU would take its time over two billion of them.
CausalLm random_model(const ModelConfig& config, torch::ScalarType type, torch::Device device);

/// A model to run: a HypeNet ("hypenet-2b", "hypenet-smollm2-135m", "hypenet-tiny", logits scaling
/// "hype 500", a mixer behind a colon as in bench_shape) or the Transformer that it comes from
/// ("qwen3-1.7b", "smollm2-135m", "tiny"), or what the config.json of a folder says. Throws Error
/// naming these for another word.
ModelConfig inference_shape(const std::string& name);

}  // namespace hypenet
