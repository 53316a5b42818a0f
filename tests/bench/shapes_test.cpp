// The shapes of hypenet bench are models that a conversion could make.
#include "bench/shapes.h"

#include <gtest/gtest.h>

#include "halo/hybrid.h"
#include "halo/twins/twin_rule.h"
#include "model/mixers/mixer_kind.h"
#include "tests/support/expect_error.h"

namespace hypenet {
namespace {

TEST(BenchShapes, keep_a_quarter_of_the_layers_spread_evenly) {
  EXPECT_EQ(bench_shape("hypenet-2b").attention_layers,
            (std::vector<int64_t>{0, 4, 8, 12, 16, 20, 24}));
  EXPECT_EQ(bench_shape("smollm2-135m").attention_layers.size(), 7U);
  for (const char* name : {"hypenet-2b", "smollm2-135m", "tiny"}) {
    const BenchShape shape = bench_shape(name);
    const auto types = mixer_types(shape.teacher.num_hidden_layers, shape.attention_layers);
    check_model_config(shape.teacher, name);
    check_model_config(hypenet_config(shape.teacher, types), name);
  }
  EXPECT_ERROR(bench_shape("huge"),
               "--shape: expected hypenet-2b, hypenet-5b, hypenet-9b, smollm2-135m or tiny, or one "
               "of these with a mixer, like tiny:gdn (gdn, ");
  EXPECT_ERROR(bench_shape("huge"), "), found \"huge\"");
}

TEST(BenchShapes, are_told_with_every_mixer_that_may_stand_behind_a_colon) {
  for (const TwinRule* rule : twin_rules().subspan(1)) {
    const std::string mixer(rule->mixer->name);
    EXPECT_EQ(inference_shape("hypenet-smollm2-135m:" + mixer).mixer_types[1], rule->mixer);
    EXPECT_EQ(bench_shape("tiny:" + mixer).mixer, mixer);
    for (const std::string& told : {inference_shapes(), training_shapes()}) {
      EXPECT_NE(told.find(mixer), std::string::npos) << told;
    }
  }
  EXPECT_ERROR(inference_shape("smollm2-135m:kda"),
               "one of these with a mixer, like hypenet-tiny:gdn (gdn, ");
}

TEST(BenchShapes, have_other_mixers_at_the_same_places) {
  for (const char* mixer : {"gdn", "kda"}) {
    const std::string name = concat("hypenet-2b:", mixer);
    const ModelConfig config = inference_shape(name);
    check_model_config(config, name);
    EXPECT_EQ(config.mixer_types[0]->name, "attn");
    for (const int64_t layer : {1, 2, 3}) EXPECT_EQ(config.mixer_types[layer]->name, mixer);
    for (const MixerKind* kind : kinds_of(config)) EXPECT_TRUE(kind->has_step_kernels(config));
  }
}

TEST(BenchShapes, a_mixer_behind_a_colon_is_that_of_the_recurrent_layers) {
  const BenchShape shape = bench_shape("tiny:kda");
  EXPECT_EQ(shape.student({0}).mixer_types, mixer_types(4, {0}, "kda"));
  EXPECT_EQ(inference_shape("hypenet-tiny:gdn").mixer_types, mixer_types(4, {0}, "gdn"));
  EXPECT_EQ(inference_shape("hypenet-tiny").mixer_types, mixer_types(4, {0}));
  EXPECT_ERROR(bench_shape("tiny:attn"), "--shape: mixer: expected \"lightning-attn\", ");
  EXPECT_ERROR(inference_shape("tiny:gdn"), "or a model folder, found \"tiny:gdn\"");
}

TEST(BenchShapes, a_model_folder_gives_its_own_sizes) {
  const ModelConfig config = inference_shape(concat(HYPENET_SOURCE, "/models/tiny-teacher"));
  EXPECT_EQ(config.num_hidden_layers, 8);
  EXPECT_EQ(config.hidden_size, 128);
  EXPECT_ERROR(inference_shape("no/folder"), ", tiny, or a model folder, found \"no/folder\"");
}

}  // namespace
}  // namespace hypenet
