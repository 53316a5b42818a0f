// Files that are not quite what they should be, as a user meets them: notes and one-line errors.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/json.h"
#include "data/token_shard.h"
#include "store/checkpoint.h"
#include "tests/support/expect_error_line.h"
#include "tests/support/model_folder.h"
#include "tests/support/program.h"

namespace hypenet {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing_support::expect_error_line;
using testing_support::ProgramResult;
using testing_support::run_program;

class Readers : public testing::Test {
 protected:
  Readers() { testing_support::write_byte_model(folder()); }

  fs::path folder() const { return root_ / "model"; }

  std::string write(const std::string& name, const std::string& bytes) const {
    write_file(root_ / name, bytes);
    return (root_ / name).string();
  }

  ProgramResult tokenize(std::vector<std::string> arguments) const {
    arguments.insert(arguments.begin(), {"data", "tokenize", "--tokenizer", folder().string(),
                                         "--out", (root_ / "tokens").string()});
    return run_program(arguments);
  }

  /// The model's weights once more in `type`, but for the tensors that `keep` names.
  void store_as(torch::ScalarType type, const std::string& keep = "none") const {
    const Checkpoint old(folder());
    NamedTensors tensors;
    for (const std::string& name : old.names()) {
      const Tensor tensor = old.tensor(name).clone();
      tensors.emplace_back(name, name.find(keep) == name.npos ? tensor.to(type) : tensor);
    }
    write_safetensors(folder() / "model.safetensors", tensors);
  }

  void set_config(const std::string& key, const Json& value) const {
    Json config = read_json(folder() / "config.json");
    value.is_discarded() ? static_cast<void>(config.erase(key))
                         : static_cast<void>(config[key] = value);
    write_json(folder() / "config.json", config);
  }

  Json logprobs(const std::string& type, std::string* error = nullptr) const {
    const ProgramResult result = run_program({"generate", folder().string(), "--prompt", "One",
                                              "--tokens", "6", "--json", "--dtype", type});
    EXPECT_EQ(result.code, 0) << result.error;
    if (error) *error = result.error;
    return Json::parse(result.out)["logprobs"];
  }

  TemporaryFolder root_;
};

TEST_F(Readers, automatic_types_ask_the_tensors_and_not_config_json) {
  for (const Json& told : {Json("bfloat16"), Json("float16"), Json(Json::value_t::discarded)}) {
    set_config("torch_dtype", told);
    std::string error;
    EXPECT_EQ(logprobs("auto", &error), logprobs("float32"));
    EXPECT_THAT(error, IsEmpty());
  }
  EXPECT_NE(logprobs("float32"), logprobs("bfloat16"));
  store_as(torch::kFloat16);
  std::string error;
  EXPECT_EQ(logprobs("auto", &error), logprobs("float32")) << "float16 is exact in float32";
  EXPECT_THAT(error, IsEmpty());
  store_as(torch::kBFloat16);
  set_config("torch_dtype", "float32");
  EXPECT_EQ(logprobs("auto"), logprobs("bfloat16"));
}

TEST_F(Readers, of_mixed_types_the_most_frequent_counts_and_rounding_is_told) {
  store_as(torch::kBFloat16, "model.norm");
  std::string error;
  EXPECT_EQ(logprobs("auto", &error), logprobs("bfloat16"));
  EXPECT_THAT(error, HasSubstr("note: " + folder().string() +
                               ": 1 tensors stored as float32 are "
                               "rounded to bfloat16 (--dtype float32 keeps them)\n"));
}

TEST_F(Readers, a_stored_head_that_differs_is_noted_by_every_command) {
  const std::string reported = HYPENET_TEST_DATA "/tied-head-differs";
  const std::string note = "note: " + reported + "/config.json: tie_word_embeddings is true, but";
  const ProgramResult logits = run_program(
      {"logits", reported, "--ids", "1,2,3", "--out", (root_ / "logits.safetensors").string()});
  EXPECT_EQ(logits.code, 0) << logits.error;
  EXPECT_THAT(logits.error, HasSubstr(note));
  const ProgramResult inspected = run_program({"inspect", reported});
  EXPECT_EQ(inspected.code, 0) << inspected.error;
  EXPECT_THAT(inspected.error, HasSubstr(note));
}

TEST_F(Readers, inspect_counts_parameters_and_notes_tensors_that_no_model_has) {
  const auto total = [&](std::string* error = nullptr) {
    const ProgramResult result = run_program({"inspect", folder().string(), "--json"});
    EXPECT_EQ(result.code, 0) << result.error;
    if (error) *error = result.error;
    return Json::parse(result.out)["parameters"]["total"].get<int64_t>();
  };
  const int64_t before = total();
  const Checkpoint old(folder());
  NamedTensors tensors;
  for (const std::string& name : old.names()) tensors.emplace_back(name, old.tensor(name).clone());
  tensors.emplace_back("lm_head.weight", old.tensor("model.embed_tokens.weight").clone());
  write_safetensors(folder() / "model.safetensors", tensors);
  std::string error;
  EXPECT_EQ(total(&error), before) << "an equal copy of a tied head is no parameter";
  EXPECT_THAT(error, IsEmpty());
  tensors.emplace_back("model.layers.9.mlp.up_proj.weight", torch::ones({2}));
  write_safetensors(folder() / "model.safetensors", tensors);
  total(&error);
  EXPECT_THAT(error, HasSubstr("tensor model.layers.9.mlp.up_proj.weight: expected only tensors"));
}

TEST_F(Readers, bad_documents_are_skipped_with_a_warning_or_fail) {
  const std::string bad = write("a.jsonl", "{\"text\":\"a\\ud83d b\"}\n{\"text\":\"two\"}\n");
  const ProgramResult skipped = tokenize({bad});
  EXPECT_EQ(skipped.code, 0) << skipped.error;
  EXPECT_THAT(
      skipped.error,
      HasSubstr("hypenet: warning: 1 of 2 documents left out: 1 for a lone surrogate (first: " +
                bad + ":1: expected JSON, found a lone surrogate at byte 17)\n"));
  EXPECT_EQ(TokenDataset(root_ / "tokens").tokens(), 4);
  expect_error_line(tokenize({"--on-bad-document", "fail", bad}),
                    bad + ":1: expected JSON, found a lone surrogate at byte 17");
  const std::string all = write("b.jsonl", "{\"txt\":\"one\"}\n{\"txt\":\"two\"}\n");
  expect_error_line(tokenize({all}), all + ":1: expected field text, found none; there are: txt");
}

TEST_F(Readers, what_a_data_folder_holds_beside_documents_is_told) {
  fs::create_directories(root_ / "data/other");
  write("data/a.txt", "one");
  write("data/README.md", "no");
  fs::create_directory_symlink("../more", root_ / "data/more");
  fs::create_directories(root_ / "more");
  write("more/b.txt", "two");
  const ProgramResult result = tokenize({(root_ / "data").string()});
  EXPECT_EQ(result.code, 0) << result.error;
  EXPECT_THAT(result.error, HasSubstr("/data: 1 file left alone: .md 1\n"));
  EXPECT_EQ(TokenDataset(root_ / "tokens").tokens(), 8);
}

TEST_F(Readers, held_out_text_and_prompts_skip_bad_documents_too) {
  std::string lines = "{\"text\": null}\n";
  for (int i = 0; i < 40; ++i) lines += concat("{\"text\":\"Sentence ", i, " of some text.\"}\n");
  const std::string text = write("a.jsonl", lines);
  const std::string note = "hypenet: warning: 1 of 41 documents left out: 1 for null instead of a";
  const ProgramResult compared = run_program({"compare", folder().string(), folder().string(),
                                              "--text", text, "--context", "64", "--windows", "2"});
  EXPECT_EQ(compared.code, 0) << compared.error;
  EXPECT_THAT(compared.error, HasSubstr(note));
  const ProgramResult written = run_program(
      {"generate", folder().string(), "--corpus", (root_ / "corpus.jsonl").string(), "--text", text,
       "--corpus-tokens", "40", "--prompt-tokens", "2,4", "--tokens", "8"});
  EXPECT_EQ(written.code, 0) << written.error;
  EXPECT_THAT(written.error, HasSubstr(note));
}

TEST_F(Readers, files_that_are_something_else_are_named) {
  write("model/tokenizer.json", "<!DOCTYPE html><html>404</html>");
  expect_error_line(run_program({"generate", folder().string(), "--prompt", "x"}),
                    "tokenizer.json: expected JSON, found an HTML page");
  write("model/model.safetensors", "version https://git-lfs.github.com/spec/v1\n");
  expect_error_line(run_program({"inspect", folder().string()}),
                    "model.safetensors: expected a safetensors file, found a Git LFS pointer (run "
                    "git lfs pull)");
}

}  // namespace
}  // namespace hypenet
