// What files of sessions and prefixes are told apart by, and how long a context is served.
#include "cli/serve_model.h"

#include <gtest/gtest.h>

#include <utility>

#include "base/json.h"
#include "tests/support/model_folder.h"
#include "tests/support/temporary_folder.h"

namespace hypenet {
namespace {

TEST(WeightsFingerprint, differs_where_only_a_key_of_a_mixer_does) {
  const TemporaryFolder place;
  testing_support::write_byte_model(place / "model");
  const Checkpoint model(place / "model");
  const auto fingerprint = [&](const Json& config) {
    return weights_fingerprint(model, parse_model_config(config, "config.json"));
  };
  const Json config = model.config();
  Json other = config;
  other["lightning_scale"] = "1";
  ASSERT_NE(other, config);
  EXPECT_EQ(fingerprint(config), fingerprint(model.config()));
  EXPECT_NE(fingerprint(config), fingerprint(other));
}

TEST(OpenServed, transformers_are_served_to_the_length_that_they_were_made_for) {
  const TemporaryFolder place;
  testing_support::write_byte_model(place / "hybrid");
  const auto length = [](const std::filesystem::path& folder, int64_t context) {
    ServeModelOptions options;
    options.model.folder = folder.string();
    options.sums_weights = false;
    options.engine = {.memory_bytes = 64 << 20, .max_sequences = 1, .max_context = context};
    const ServedModel model = open_served(options).served.model;
    return std::pair(model.context_length, model.trained_length);
  };
  const auto teacher = std::filesystem::path(HYPENET_SOURCE) / "models" / "tiny-teacher";
  EXPECT_EQ(length(teacher, 0), std::pair(int64_t{256}, int64_t{256}));
  EXPECT_EQ(length(teacher, 300), std::pair(int64_t{300}, int64_t{256}));
  // What recurrent layers remember has no such end.
  const auto [context, trained] = length(place / "hybrid", 0);
  EXPECT_EQ(trained, 4096);
  EXPECT_GT(context, trained);
}

}  // namespace
}  // namespace hypenet
