// Engines of weights in few bits keep what engines promise: a sequence's bits are its own.
#include <gtest/gtest.h>

#include "engine/open.h"
#include "tests/support/packed_gguf.h"
#include "tests/support/temporary_folder.h"

namespace hypenet {
namespace {

std::vector<int32_t> prompt_of(int64_t length, int32_t first) {
  std::vector<int32_t> ids;
  for (int64_t i = 0; i < length; ++i) ids.push_back(static_cast<int32_t>((first + i * i) % 48));
  return ids;
}

/// The answers' ids and bits, of prompts that are read and answered side by side.
std::vector<Completion> answers(Engine& engine, const std::vector<std::vector<int32_t>>& prompts) {
  GenerateOptions options;
  options.max_tokens = 12;
  std::vector<Request> requests;
  for (const auto& prompt : prompts) requests.push_back({.prompt = prompt, .options = options});
  return engine.generate(requests);
}

class PackedEngine : public testing::TestWithParam<Activations> {
 protected:
  PackedEngine() { write_file(folder_ / "m.gguf", testing_support::packed_llama()); }
  Engine open(const EngineOptions& options = {}) {
    return open_engine(folder_ / "m.gguf", {.activations = GetParam()}, options);
  }

  TemporaryFolder folder_;
};

TEST_P(PackedEngine, an_answer_is_its_own_whatever_runs_beside_it_and_however_it_is_read) {
  const std::vector<std::vector<int32_t>> prompts = {prompt_of(70, 3), prompt_of(9, 5),
                                                     prompt_of(33, 7)};
  Engine together = open(), pieces = open({.prefill_chunk = 16});
  const std::vector<Completion> expected = answers(together, prompts);
  for (size_t i = 0; i < prompts.size(); ++i) {
    Engine alone = open({.max_sequences = 1});
    for (Engine* engine : {&alone, &pieces}) {
      const Completion found = answers(*engine, {prompts[i]}).front();
      EXPECT_EQ(found.ids, expected[i].ids) << i;
      EXPECT_EQ(found.logprobs, expected[i].logprobs) << i;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(rows, PackedEngine,
                         testing::Values(Activations::kInt8, Activations::kFloat),
                         [](const auto& info) {
                           return info.param == Activations::kInt8 ? "int8" : "as_they_are";
                         });

TEST(PackedOpen, other_types_and_other_caches_are_had_by_asking) {
  const TemporaryFolder folder;
  write_file(folder / "m.gguf", testing_support::packed_llama());
  const Checkpoint checkpoint(folder / "m.gguf");
  const auto is_packed = [](CausalLm model) { return model->head().packed != nullptr; };
  EXPECT_TRUE(is_packed(open_model(checkpoint, {})));
  EXPECT_FALSE(is_packed(open_model(checkpoint, {.type = torch::kFloat32})));
  const auto cache = [&](const ModelSpec& spec) {
    return open_model(checkpoint, spec)->memory_types().cache;
  };
  EXPECT_EQ(cache({}), torch::kBFloat16);
  EXPECT_EQ(cache({.cache_type = torch::kFloat32}), torch::kFloat32);
  EXPECT_EQ(cache({.type = torch::kFloat32}), torch::kFloat32);
  EXPECT_EQ(cache({.type = torch::kFloat32, .cache_type = torch::kBFloat16}), torch::kBFloat16);
}

}  // namespace
}  // namespace hypenet
