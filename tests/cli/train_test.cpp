// Training from scratch as a user runs it: a Transformer and a HypeNet, phases, resuming.
#include <gtest/gtest.h>

#include "base/json.h"
#include "store/checkpoint.h"
#include "tests/support/expect_error_line.h"
#include "tests/support/program.h"
#include "tests/support/temporary_folder.h"

namespace hypenet {
namespace {

using testing_support::ProgramResult;
using testing_support::run_program;

class Train : public testing::Test {
 protected:
  void SetUp() override {
    std::string text;
    for (int i = 0; i < 1000; ++i) text += concat("Sentence ", i, " of a short text. ");
    write_file(folder_ / "text.txt", text);
  }

  /// The tiny teacher's recipe with two phases of some steps, and a model's keys changed.
  std::vector<std::string> command(const std::string& out, const Json& model_changes) const {
    const auto phase = [](const char* name, int64_t context, const Json& mixture) {
      return Json{{"name", name},
                  {"stage",
                   {{"steps", 4},
                    {"sequences", 2},
                    {"context", context},
                    {"save_every", 2},
                    {"mixture", mixture}}}};
    };
    const Json phases = {phase("a", 64, {{"prose", 0.5}, {"copy", 0.5}}),
                         phase("b", 128, {{"prose", 0.5}, {"needle", 0.5}})};
    Json model = read_json(HYPENET_SOURCE "/models/tiny-teacher/config.json");
    model.update(model_changes);
    return {"train",
            "--recipe",
            HYPENET_SOURCE "/recipes/tiny-teacher.json",
            "--data",
            (folder_ / "text.txt").string(),
            "--out",
            (folder_ / out).string(),
            "--set",
            "phases=" + phases.dump(),
            "--set",
            "model=" + model.dump(),
            "--set",
            "evaluate.context=64",
            "--set",
            "evaluate.contexts=[]",
            "--threads",
            "1"};
  }

  TemporaryFolder folder_;
};

TEST_F(Train, makes_a_transformer_that_generates) {
  const ProgramResult result = run_program(command("out", Json::object()));
  ASSERT_EQ(result.code, 0) << result.error;
  EXPECT_EQ(Checkpoint(folder_ / "out/model").config()["model_type"], "qwen3");
  EXPECT_TRUE(std::filesystem::exists(folder_ / "out/1-a/run.json"));
  EXPECT_TRUE(std::filesystem::exists(folder_ / "out/2-b/run.json"));
  EXPECT_TRUE(read_json(folder_ / "out/results.json").contains("model")) << "it is measured";
  const ProgramResult text = run_program(
      {"generate", (folder_ / "out/model").string(), "--prompt", "The", "--tokens", "3"});
  EXPECT_EQ(text.code, 0) << text.error;

  const std::string weights = read_file(folder_ / "out/model/model.safetensors");
  std::filesystem::remove_all(folder_ / "out/2-b");
  std::filesystem::remove_all(folder_ / "out/model");
  ASSERT_EQ(run_program({"train", "--resume", (folder_ / "out").string(), "--threads", "1"}).code,
            0);
  EXPECT_TRUE(read_file(folder_ / "out/model/model.safetensors") == weights)
      << "the second phase goes on from the first";
}

TEST_F(Train, makes_a_hypenet) {
  const Json changes = {{"architectures", {"HypeNetForCausalLM"}},
                        {"model_type", "hypenet"},
                        {"num_hidden_layers", 2},
                        {"mixer_types", {"lightning-attn", "attn"}},
                        {"attn_use_rope", false},
                        {"attn_use_output_gate", true},
                        {"lightning_nh", 4},
                        {"lightning_nkv", 4},
                        {"lightning_head_dim", 32}};
  const ProgramResult result = run_program(command("out", changes));
  ASSERT_EQ(result.code, 0) << result.error;
  EXPECT_EQ(Checkpoint(folder_ / "out/model").config()["model_type"], "hypenet");
}

TEST_F(Train, goes_on_with_the_weights_of_a_folder) {
  std::vector<std::string> from_folder = command("out", Json::object());
  const std::string teacher = HYPENET_SOURCE "/models/tiny-teacher";
  from_folder.insert(from_folder.end(), {"--model", teacher});
  const ProgramResult result = run_program(from_folder);
  ASSERT_EQ(result.code, 0) << result.error;
  const Json settings = read_json(folder_ / "out/1-a/run.json")["settings"];
  EXPECT_EQ(settings["model"]["folder"], teacher) << "instead of the recipe's config";
  const Json results = read_json(folder_ / "out/results.json");
  EXPECT_LT(results["model"]["perplexity"].get<double>(), 4096 / 10) << "it is no random model";
  EXPECT_TRUE(results.contains("beginning"));
  const ProgramResult again =
      run_program({"train", "--resume", (folder_ / "out").string(), "--threads", "1"});
  EXPECT_EQ(again.code, 0) << again.error;
  EXPECT_NE(again.error.find("model: done before"), std::string::npos) << again.error;
}

TEST_F(Train, says_in_one_line_what_it_cannot_begin_with) {
  const auto refuse = [&](const std::vector<std::string>& more, const std::string& text) {
    std::vector<std::string> arguments = command("out", Json::object());
    arguments.insert(arguments.end(), more.begin(), more.end());
    testing_support::expect_error_line(run_program(arguments), text);
  };
  refuse({"--model", (folder_ / "none").string()}, "none: expected a model folder, found nothing");
  refuse({"--set", "model=" HYPENET_SOURCE "/models/tiny-teacher"}, "tokenizer: expected none");
  refuse({"--set", "model=null"}, "model: expected a model folder (give --model)");
}

TEST_F(Train, a_vocabulary_larger_than_the_embedding_is_refused) {
  const ProgramResult result = run_program(command("out", {{"vocab_size", 4095}}));
  EXPECT_EQ(result.code, 1);
  EXPECT_NE(result.error.find("at most the embedding's 4095 rows, found a tokenizer with 4096 ids"),
            std::string::npos)
      << result.error;
}

}  // namespace
}  // namespace hypenet
