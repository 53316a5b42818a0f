// The folder's settings over defaults.
#include "engine/generation_config.h"

#include <gtest/gtest.h>

#include "base/json.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"

namespace hypenet {
namespace {

constexpr double kWarm = 0.7, kMost = 0.95;

TEST(GenerationConfig, wins_over_the_defaults) {
  const TemporaryFolder folder;
  const SamplingOptions defaults{.temperature = kWarm, .top_p = kMost};
  EXPECT_EQ(read_generation_config(folder.path(), defaults).temperature, kWarm);
  EXPECT_EQ(read_generation_config(folder.path(), defaults).top_p, kMost);
  write_json(folder / "generation_config.json", {{"do_sample", true},
                                                 {"temperature", 0.6},
                                                 {"top_k", 20},
                                                 {"min_p", nullptr},
                                                 {"repetition_penalty", 1.1},
                                                 {"presence_penalty", 1.5},
                                                 {"eos_token_id", {1, 2}}});
  const SamplingOptions options = read_generation_config(folder.path(), defaults);
  EXPECT_EQ(options.temperature, 0.6);
  EXPECT_EQ(options.top_k, 20);
  EXPECT_EQ(options.top_p, kMost);
  EXPECT_EQ(options.min_p, 0);
  EXPECT_EQ(options.repetition_penalty, 1.1);
  EXPECT_EQ(options.presence_penalty, 1.5);
  EXPECT_EQ(options.frequency_penalty, 0);
  write_json(folder / "generation_config.json", {{"do_sample", false}, {"temperature", 0.6}});
  EXPECT_EQ(read_generation_config(folder.path(), defaults).temperature, 0);
}

TEST(GenerationConfig, impossible_values_are_named_where_they_stand) {
  const TemporaryFolder folder;
  const auto configured = [&](const char* key, const Json& value) {
    write_json(folder / "generation_config.json", {{key, value}});
    return read_generation_config(folder.path(), {});
  };
  EXPECT_ERROR(configured("top_p", 1.5),
               "generation_config.json: top_p: expected 1e-06 to 1, found 1.5");
  EXPECT_ERROR(configured("top_k", "x"),
               "generation_config.json: top_k: expected an integer, found a string");
}

}  // namespace
}  // namespace hypenet
