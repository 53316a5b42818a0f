// Flags over defaults.
#include "cli/generation_options.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "tests/support/expect_error.h"

namespace hypenet {
namespace {

SamplingFlags parsed(const std::string& line) {
  SamplingFlags flags;
  CLI::App app;
  add_sampling_options(app, flags);
  app.parse(line);
  return flags;
}

TEST(GenerationOptions, flags_win_over_defaults) {
  const SamplingOptions defaults{.temperature = 0.6, .top_k = 20, .top_p = 0.95};
  const SamplingFlags flags = parsed("--top-k 0 --min-p 0.1 --seed 5");
  const SamplingOptions options = sampling_options(flags, defaults);
  EXPECT_EQ(options.temperature, 0.6);
  EXPECT_EQ(options.top_k, 0);
  EXPECT_EQ(options.top_p, 0.95);
  EXPECT_EQ(options.min_p, 0.1);
  EXPECT_EQ(options.seed, 5U);
}

TEST(GenerationOptions, impossible_values_name_their_flag) {
  EXPECT_ERROR(sampling_options(parsed("--repetition-penalty 0"), SamplingOptions()),
               "--repetition-penalty: expected 1e-06 to 1e+06, found 0");
  EXPECT_ERROR(sampling_options(parsed("--frequency-penalty 2.5"), SamplingOptions()),
               "--frequency-penalty: expected -2 to 2, found 2.5");
}

TEST(GenerationOptions, what_chooses_among_tokens_is_refused_where_none_is_drawn) {
  const char* const kWhy = ": has no effect at temperature 0, which takes the likeliest token";
  const SamplingOptions greedy;
  EXPECT_ERROR(sampling_options(parsed("--seed 3"), greedy), concat("--seed", kWhy));
  EXPECT_EQ(sampling_options(parsed("--seed 3"), greedy, /*seeds_more=*/true).seed, 3U);
  EXPECT_ERROR(sampling_options(parsed("--top-p 0.5"), greedy), concat("--top-p", kWhy));
  EXPECT_EQ(sampling_options(parsed("--top-p 0.5 --temperature 0.5"), greedy).top_p, 0.5);
  EXPECT_EQ(sampling_options(parsed("--repetition-penalty 1.2"), greedy).repetition_penalty, 1.2);
  EXPECT_EQ(sampling_options(parsed("--presence-penalty -1"), greedy).presence_penalty, -1);
}

TEST(GenerationOptions, flags_are_read_in_their_ranges) {
  SamplingFlags sampling;
  MemoryFlags memory;
  CLI::App app;
  add_sampling_options(app, sampling);
  add_memory_options(app, memory);
  app.parse("--seed 18446744073709551615 --memory 512M --context 100");
  EXPECT_EQ(sampling.values.seed, UINT64_MAX);
  const EngineOptions options = engine_options(memory, 3);
  EXPECT_EQ(options.memory_bytes, int64_t{512} << 20);
  EXPECT_EQ(options.max_context, 100);
  EXPECT_EQ(options.max_sequences, 3);
  EXPECT_ERROR(app.parse("--seed=-1"),
               "--seed: expected an integer of 0 to 18446744073709551615, "
               "found \"-1\"");
  EXPECT_ERROR(app.parse("--seed=1.5"), "--seed: expected an integer");
  EXPECT_ERROR(app.parse("--memory=-1"), "--memory: expected a size such as 8G");
  EXPECT_ERROR(engine_options({.bytes = 0, .context = 1 << 25}, 1),
               "--context: expected 0 to 16,777,216, found 33554432");
}

}  // namespace
}  // namespace hypenet
