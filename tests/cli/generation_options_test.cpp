// Defaults, the folder's settings and flags, in this order.
#include "cli/generation_options.h"

#include <gtest/gtest.h>

#include "base/json.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"

namespace hypenet {
namespace {

TEST(GenerationOptions, flags_win_over_the_folder_and_the_folder_over_defaults) {
  const TemporaryFolder folder;
  EXPECT_EQ(configured_sampling(folder.path()).temperature, 0.7);
  EXPECT_EQ(configured_sampling(folder.path()).top_p, 0.95);
  write_json(folder / "generation_config.json", {{"do_sample", true},
                                                 {"temperature", 0.6},
                                                 {"top_k", 20},
                                                 {"min_p", nullptr},
                                                 {"repetition_penalty", 1.1},
                                                 {"eos_token_id", {1, 2}}});
  const SamplingOptions configured = configured_sampling(folder.path());
  EXPECT_EQ(configured.temperature, 0.6);
  EXPECT_EQ(configured.top_k, 20);
  EXPECT_EQ(configured.top_p, 0.95);
  EXPECT_EQ(configured.min_p, 0);
  EXPECT_EQ(configured.repetition_penalty, 1.1);
  SamplingFlags flags;
  flags.top_k = 0, flags.min_p = 0.1, flags.seed = 5;
  const SamplingOptions options = sampling_options(flags, configured);
  EXPECT_EQ(options.temperature, 0.6);
  EXPECT_EQ(options.top_k, 0);
  EXPECT_EQ(options.min_p, 0.1);
  EXPECT_EQ(options.seed, 5U);
}

TEST(GenerationOptions, impossible_values_are_named_where_they_stand) {
  const TemporaryFolder folder;
  const auto configured = [&](const char* key, const Json& value) {
    write_json(folder / "generation_config.json", {{key, value}});
    return configured_sampling(folder.path());
  };
  EXPECT_ERROR(configured("top_p", 1.5),
               "generation_config.json: top_p: expected more than 0 and at most 1, found 1.5");
  EXPECT_ERROR(configured("top_k", "x"),
               "generation_config.json: top_k: expected an integer, found a string");
  SamplingFlags flags;
  flags.repetition_penalty = 0;
  EXPECT_ERROR(sampling_options(flags, SamplingOptions()),
               "--repetition-penalty: expected more than 0, found 0");
}

TEST(GenerationOptions, memory_is_in_gib) {
  const EngineOptions options = engine_options({.gib = 1.5, .context = 100}, 3);
  EXPECT_EQ(options.memory_bytes, int64_t{3} << 29);
  EXPECT_EQ(options.max_context, 100);
  EXPECT_EQ(options.max_sequences, 3);
  EXPECT_ERROR(engine_options({.gib = -1, .context = 0}, 1), "--memory: expected 0 to ");
}

}  // namespace
}  // namespace hypenet
