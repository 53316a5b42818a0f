// What hypenet export --transformers writes and refuses; that transformers computes the same with
// it is in tests/e2e/transformers_test.py.
#include "cli/transformers/transformers_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/files.h"
#include "cli/commands.h"
#include "cli/transformers/modeling_file.h"
#include "model/mixers/gdn.h"
#include "tests/support/expect_error.h"
#include "tests/support/expect_error_line.h"
#include "tests/support/model_folder.h"
#include "tests/support/refusal.h"
#include "tests/support/temporary_folder.h"

namespace hypenet {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using testing_support::tiny_hypenet_config;

/// The folder of a conversion whose teacher lay in the hub's cache, with its model.
fs::path write_conversion(const fs::path& folder) {
  const fs::path model = folder / "model";
  testing_support::write_byte_model(model);
  const Json settings = {{"teacher", "/data/hub/models--Qwen--Qwen3-0.6B/snapshots/abc"},
                         {"seed", 7},
                         {"training_tokens", 1000},
                         {"align", {{"steps", 10}, {"sequences", 8}, {"context", 64}}},
                         {"sweep", {{"context", 256}}},
                         {"select", {{"rule", "halo"}, {"pilot", {{"steps", 300}}}}},
                         {"distill", {{"steps", 0}, {"sequences", 8}, {"context", 64}}}};
  write_json(model / "run.json", {{"stage", "model"},
                                  {"settings", settings},
                                  {"version", "0.0.9"},
                                  {"source_commit", "abcdef"},
                                  {"parents", {"/data/out/6-finetune"}}});
  write_json(
      folder / "recipe.json",
      {{"command", "convert"},
       {"recipe", {{"name", "short"}, {"data", {{"train", {"/data/texts/train.jsonl.gz"}}}}}}});
  const Json measured = {{"context", 256}, {"perplexity", 12.5}, {"next_token_accuracy", 0.5}};
  write_json(folder / "results.json", {{"settings", settings},
                                       {"attention_layers", {1}},
                                       {"teacher", measured},
                                       {"hypenet", measured}});
  return model;
}

fs::path write_model(const fs::path& folder, const ModelConfig& config) {
  CausalLm model(config);
  write_checkpoint(folder,
                   {.config = to_json(config), .tensors = named_weights(*model, torch::kFloat32)});
  return folder;
}

TEST(TransformersFolder, config_names_the_code_and_the_weights_type) {
  const TemporaryFolder folder;
  const fs::path model = folder / "given", out = folder / "written";
  testing_support::write_byte_model(model);
  write_transformers_folder(model, out);
  const Json config = read_json(out / "config.json");
  EXPECT_EQ(config.at("auto_map").at("AutoModelForCausalLM"),
            "modeling_hypenet.HypeNetForCausalLM");
  EXPECT_EQ(config.at("torch_dtype"), "float32");
  EXPECT_EQ(read_file(out / kModelingFile), modeling_file());
  EXPECT_EQ(modeling_file(),
            read_file(fs::path(HYPENET_SOURCE) / "src/cli/transformers" / kModelingFile));
  EXPECT_EQ(read_file(out / "tokenizer.json"), read_file(model / "tokenizer.json"));
  EXPECT_EQ(read_json(out / "run.json").at("stage"), "export");

  // The model of the folder is the same here, and so is one that is exported from it once more.
  write_transformers_folder(out, folder / "again");
  const Checkpoint given(model), again(folder / "again");
  EXPECT_EQ(again.names(), given.names());
  for (const std::string& name : given.names()) {
    EXPECT_TRUE(torch::equal(again.tensor(name), given.tensor(name))) << name;
  }
}

TEST(TransformersFolder, the_card_says_what_the_conversion_knows) {
  const TemporaryFolder folder;
  const fs::path out = folder / "tiny-hypenet";
  write_transformers_folder(write_conversion(folder.path()), out / "");
  const std::string card = read_file(out / "README.md");
  EXPECT_THAT(card, testing::StartsWith("---\nlibrary_name: transformers\n"));
  EXPECT_THAT(card, AllOf(HasSubstr("\nbase_model: Qwen/Qwen3-0.6B\n---\n# tiny-hypenet\n"),
                          HasSubstr("Softmax attention stands in the layers [1]; the others are "
                                    "lightning attention"),
                          HasSubstr("from_pretrained(\"tiny-hypenet\", trust_remote_code=True)"),
                          HasSubstr("hypenet generate tiny-hypenet --prompt")));
  EXPECT_THAT(card, AllOf(HasSubstr("Teacher Qwen/Qwen3-0.6B, recipe short, layers selected by "
                                    "the rule halo, seed 7, text train.jsonl.gz of 1000 tokens."),
                          HasSubstr("| align | recurrent layers, to the teacher's hidden states | "
                                    "10 | 8 | 64 | 5120 |"),
                          HasSubstr("hypenet 0.0.9 (abcdef)"),
                          HasSubstr("| held-out perplexity, windows of 256 | 12.50 | 12.50 |")));
  // A stage of no steps is none, and nobody's paths are told.
  EXPECT_THAT(card, AllOf(Not(HasSubstr("| distill")), Not(HasSubstr("| sweep")),
                          Not(HasSubstr("/data/"))));
}

TEST(TransformersFolder, the_card_says_what_a_training_began_with) {
  const TemporaryFolder folder;
  const fs::path model = write_conversion(folder.path()), out = folder / "uptrained";
  const Json begun = {{"folder", "/data/hub/models--Qwen--Qwen3-0.6B/snapshots/abc"},
                      {"weights", "0123456789abcdef"}};
  write_json(model / "run.json", {{"settings", {{"model", begun}, {"seed", 7}}}});
  write_transformers_folder(model, out);
  EXPECT_THAT(read_file(out / "README.md"),
              AllOf(HasSubstr("\nbase_model: Qwen/Qwen3-0.6B\n"),
                    HasSubstr("Begun with the weights of Qwen/Qwen3-0.6B, recipe short, seed 7.")));
}

TEST(TransformersFolder, a_model_that_nobody_described_has_a_card_too) {
  const TemporaryFolder folder;
  const fs::path model = folder / "given", out = folder / "written";
  testing_support::write_byte_model(model);
  fs::remove(model / "run.json");
  write_file(folder / "results.json", "{");  // lies beside, and belongs to something else
  write_transformers_folder(model, out);
  EXPECT_THAT(read_file(out / "README.md"),
              AllOf(HasSubstr("# written\n"), Not(HasSubstr("## How it was made")),
                    Not(HasSubstr("## Results"))));
}

TEST(TransformersFolder, a_teacher_is_its_published_folder) {
  const TemporaryFolder folder;
  const fs::path out = folder / "written";
  write_transformers_folder(fs::path(HYPENET_SOURCE) / "models/tiny-teacher", out);
  EXPECT_FALSE(fs::exists(out / kModelingFile));
  EXPECT_FALSE(read_json(out / "config.json").contains("auto_map"));
  EXPECT_THAT(read_file(out / "README.md"),
              AllOf(HasSubstr("A Qwen3: 8 layers"), Not(HasSubstr("trust_remote_code"))));
}

TEST(TransformersFolder, is_written_again_but_not_over_what_others_wrote) {
  const TemporaryFolder folder;
  const fs::path model = folder / "given", out = folder / "written";
  testing_support::write_byte_model(model);
  write_transformers_folder(model, out);
  write_transformers_folder(model, out);
  write_file(out / "notes.txt", "mine");
  EXPECT_ERROR(write_transformers_folder(model, out), "notes.txt");
}

TEST(TransformersFolder, layers_that_the_code_lacks_are_refused_by_name) {
  const TemporaryFolder folder;
  Json keys = to_json(tiny_hypenet_config());
  keys["mixer_types"][0] = "nha";
  ModelConfig config = parse_model_config(keys, "config.json");
  const auto refused = [&](const std::string& text) {
    const fs::path model = write_model(folder / "given", config);
    testing_support::expect_error_line(
        testing_support::refusal(add_export_command,
                                 {"export", model, "--transformers", folder / "written"}),
        text);
    EXPECT_FALSE(fs::exists(folder / "written"));
  };
  refused(
      "export: --transformers: expected layers of attn, lightning-attn, gdn and kda, found nha");
  config.mixer_types[0] = &kGdnMixer;
  config.mixers.of<GdnConfig>() = {.nh = 4, .nkv = 4, .head_dim = 16};
  config.mixers.of<GdnConfig>().use_short_conv = true;
  refused("export: --transformers: gdn: expected layers without a short convolution, found one");
  config.mixers.of<GdnConfig>().use_short_conv = false;
  config.mixers.of<GdnConfig>().expand_v = 2;
  refused("export: --transformers: gdn: expected values of as many heads and numbers as keys");
}

TEST(TransformersFolder, nothing_to_write_is_refused) {
  testing_support::expect_error_line(
      testing_support::refusal(add_export_command, {"export", "model"}),
      "expected --gguf, --folder or --transformers, found none");
}

}  // namespace
}  // namespace hypenet
