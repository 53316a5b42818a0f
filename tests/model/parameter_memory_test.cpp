// Models that no memory holds end with a line about their sizes, not with the system's.
#include "model/parameter_memory.h"

#include <gtest/gtest.h>

#include "model/causal_lm.h"
#include "model/mixers/mixer_kind.h"
#include "tests/support/expect_error.h"
#include "tests/support/tiny_model.h"

namespace hypenet {
namespace {

TEST(ParameterMemory, counts_matrices) {
  for (const MixerKind* kind : mixer_kinds()) {
    ModelConfig config = testing_support::tiny_hypenet_config();
    config.mixer_types = {kind, kind, kind};
    if (kind->read) kind->read(Json::object(), "test", config);
    double bytes = 0;
    for (const Tensor& parameter : CausalLm(config, false)->parameters()) {
      if (parameter.dim() > 1) bytes += 4 * static_cast<double>(parameter.numel());
    }
    // Convolutions and ranks of a few numbers are none of a mixer's projections.
    EXPECT_LE(parameter_bytes(config), 1.01 * bytes) << kind->name;
    EXPECT_GE(parameter_bytes(config), 0.9 * bytes) << kind->name;
  }
}

TEST(ParameterMemory, models_too_large_are_refused) {
  ModelConfig config = testing_support::tiny_teacher_config();
  check_parameters_fit(config, true);
  config.num_hidden_layers = 1 << 20;
  config.mixer_types.assign(1 << 20, config.mixer_types.front());
  config.hidden_size = 1 << 16;
  check_parameters_fit(config, false);  // it may lie on another device
  EXPECT_ERROR(CausalLm(config, true), "model: expected parameters that fit into ");
  EXPECT_ERROR(CausalLm(config, true), "(hidden_size 65536, ");
  config.hidden_size = config.intermediate_size = config.vocab_size = 1 << 20;
  config.num_attention_heads = config.head_dim = 1 << 20;
  EXPECT_ERROR(CausalLm(config, true), "of free memory, found more than ");
  EXPECT_ERROR(CausalLm(config, false), "model: expected matrices that fit into ");
}

}  // namespace
}  // namespace hypenet
