// What hypenet bench counts of a training step.
#include "bench/model_flops.h"

#include <gtest/gtest.h>

#include <map>

#include "bench/shapes.h"
#include "halo/hybrid.h"

namespace hypenet {
namespace {

ModelConfig student_of(const BenchShape& shape, int stage) {
  const auto kept = stage == 1 ? std::vector<int64_t>() : shape.attention_layers;
  return hypenet_config(shape.teacher, mixer_types(shape.teacher.num_hidden_layers, kept));
}

double total(const std::string& name, int stage, int64_t context) {
  const BenchShape shape = bench_shape(name);
  return total_flops(training_flops(shape.teacher, student_of(shape, stage), stage, context));
}

TEST(TrainFlops, are_those_of_the_published_shapes) {
  // Parameters times 2 forward and 4 backward; stage 1 needs no gradient of the mixers' input, and
  // these sums leave out the mixing itself, which at 512 tokens is a few percent.
  const double mixer = 5 * 2048.0 * 2048, twins = 28 * mixer, teacher = 1.41e9;
  EXPECT_NEAR(total("hypenet-2b", 1, 512) / (2 * teacher + 4 * twins + 2 * twins / 5), 1, 0.06);
  EXPECT_NEAR(total("hypenet-2b", 2, 512) / 15.0e9, 1, 0.03);
  EXPECT_NEAR(total("hypenet-2b", 3, 16384) / 13.2e9, 1, 0.02);
}

TEST(TrainFlops, of_attention_grow_with_the_context_and_of_lightning_do_not) {
  const BenchShape shape = bench_shape("tiny");
  const auto by_name = [&](int64_t context) {
    std::map<std::string, double> parts;
    for (const auto& part : training_flops(shape.teacher, student_of(shape, 3), 3, context)) {
      parts[part.name] = part.sum();
    }
    return parts;
  };
  auto near = by_name(64), far = by_name(128);
  EXPECT_EQ(near.size(), 5U);
  for (const auto& [name, flops] : near) {
    EXPECT_DOUBLE_EQ(far[name], name == "student attention" ? 2 * flops : flops) << name;
  }
}

}  // namespace
}  // namespace hypenet
