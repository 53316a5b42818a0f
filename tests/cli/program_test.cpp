// The program as a user meets it: help, usage errors, bad folders, layer selection.
#include "tests/support/program.h"

#include <gmock/gmock.h>

#include <filesystem>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"

namespace hypenet {
namespace {

namespace fs = std::filesystem;
using testing::EndsWith;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::StartsWith;
using testing_support::ProgramResult;
using testing_support::run_program;

std::string test_data(const std::string& name) {
  return (fs::path(HYPENET_TEST_DATA) / name).string();
}

/// Exit code 1, nothing but one line on standard error, which holds the text.
void expect_failure(const std::vector<std::string>& arguments, const std::string& text) {
  const ProgramResult result = run_program(arguments);
  const std::string line = testing::PrintToString(arguments);
  EXPECT_EQ(result.code, 1) << line;
  EXPECT_THAT(result.out, IsEmpty()) << line;
  EXPECT_THAT(result.error, StartsWith("hypenet: ")) << line;
  EXPECT_THAT(result.error, HasSubstr(text)) << line;
  EXPECT_EQ(result.error.find('\n'), result.error.size() - 1) << line << result.error;
}

/// A copy of a checked-in model folder for a test to spoil.
class BrokenModel : public testing::Test {
 protected:
  BrokenModel() {
    for (const auto& entry : fs::directory_iterator(test_data("models/hypenet"))) {
      write_file(folder_ / entry.path().filename().string(), read_file(entry.path()));
    }
  }

  std::string path() const { return folder_.path().string(); }

  void set_config(const std::string& key, const Json& value) {
    Json config = read_json(folder_ / "config.json");
    config[key] = value;
    write_json(folder_ / "config.json", config);
  }

  TemporaryFolder folder_;
};

class HelpTest : public testing::TestWithParam<std::vector<std::string>> {};

TEST_P(HelpTest, shows_an_example) {
  std::vector<std::string> arguments = GetParam();
  std::string call = "  hypenet";
  for (const auto& word : arguments) call += " " + word;
  arguments.push_back("--help");
  const ProgramResult result = run_program(arguments);
  EXPECT_EQ(result.code, 0);
  EXPECT_THAT(result.error, IsEmpty());
  EXPECT_THAT(result.out, HasSubstr("Example"));
  EXPECT_THAT(result.out, HasSubstr(call));
}

INSTANTIATE_TEST_SUITE_P(
    commands, HelpTest,
    testing::Values(std::vector<std::string>{}, std::vector<std::string>{"convert"},
                    std::vector<std::string>{"train"}, std::vector<std::string>{"sweep"},
                    std::vector<std::string>{"select"}, std::vector<std::string>{"data"},
                    std::vector<std::string>{"data", "tokenize"},
                    std::vector<std::string>{"inspect"}, std::vector<std::string>{"tokenize"},
                    std::vector<std::string>{"generate"}, std::vector<std::string>{"chat"},
                    std::vector<std::string>{"logits"}, std::vector<std::string>{"eval"},
                    std::vector<std::string>{"compare"}, std::vector<std::string>{"report"},
                    std::vector<std::string>{"bench"}, std::vector<std::string>{"bench", "train"}),
    [](const auto& info) {
      std::string name = "hypenet";
      for (const auto& word : info.param) name += "_" + word;
      return name;
    });

TEST(ProgramTest, version_names_the_program) {
  const ProgramResult result = run_program({"--version"});
  EXPECT_EQ(result.code, 0);
  EXPECT_THAT(result.out, StartsWith("hypenet 0."));
}

TEST(ProgramTest, without_words_it_says_what_it_is) {
  const ProgramResult result = run_program({});
  EXPECT_EQ(result.code, 1);
  EXPECT_THAT(result.out, IsEmpty());
  EXPECT_THAT(result.error, StartsWith("hypenet turns Transformers into hybrid linear-attention"));
  EXPECT_THAT(result.error, HasSubstr("hypenet inspect models/tiny-teacher\n"));
  EXPECT_THAT(result.error, EndsWith("hypenet --help lists the commands.\n"));
}

TEST(ProgramTest, usage_errors_are_one_line_with_the_help_to_read) {
  expect_failure({"select"}, "--scores is required; see hypenet select --help");
  expect_failure({"data", "tokenize", "--out", "x"}, "see hypenet data tokenize --help");
  expect_failure({"data"}, "hypenet data: expected a command (tokenize");
  expect_failure({"generate", "x", "--prompt", "y", "--tokens", "many"},
                 "--tokens: expected an integer, found \"many\"; see hypenet generate --help");
  expect_failure({"generate", "x", "--prompt", "y", "--temperature", "hot"},
                 "--temperature: expected a number, found \"hot\"");
}

TEST(ProgramTest, options_that_do_not_go_together_are_named) {
  expect_failure(
      {"generate", "x", "--prompt", "y", "--prompt-file", "z"},
      "--prompt cannot be given together with --prompt-file; see hypenet generate --help");
  expect_failure({"generate", "x", "--prompt", "y", "--sequences", "2"},
                 "--sequences requires --corpus");
}

TEST(ProgramTest, unknown_words_are_named_and_near_ones_suggested) {
  expect_failure({"evel", "x"},
                 "hypenet: unknown command \"evel\"; did you mean eval? hypenet "
                 "--help lists the commands");
  expect_failure({"fly"}, "hypenet: unknown command \"fly\"; hypenet --help lists the commands");
  expect_failure({"data", "tokenise"}, "unknown command \"tokenise\"; did you mean tokenize?");
  expect_failure({"--verzion"}, "unknown option \"--verzion\"; did you mean --version?");
  // Before what is missing is asked for.
  expect_failure({"generate", "x", "--promt", "The sun"},
                 "unknown option \"--promt\"; did you mean --prompt? hypenet generate --help lists "
                 "the options");
  expect_failure({"inspect", "--jsn=1"}, "unknown option \"--jsn\"; did you mean --json?");
  expect_failure({"inspect", "x", "--fast"}, "unknown option \"--fast\"; hypenet inspect --help");
  expect_failure({"inspect", "x", "y"}, "unexpected argument \"y\"; hypenet inspect --help");
}

TEST(ProgramTest, a_name_of_the_hub_and_a_conversions_folder_are_explained) {
  const TemporaryFolder folder;
  fs::create_directory(folder / "model");
  write_file(folder / "model" / "config.json", "{}");
  for (const std::string command : {"inspect", "chat", "logits", "eval", "generate"}) {
    const auto arguments = [&](const std::string& model) {
      std::vector<std::string> all = {command, model};
      if (command == "generate") all.insert(all.end(), {"--prompt", "x"});
      if (command == "logits") all.insert(all.end(), {"--ids", "1", "--out", "x"});
      if (command == "eval") all.insert(all.end(), {"--tasks", "piqa"});
      return all;
    };
    expect_failure(arguments("Qwen/Qwen3-1.7B"),
                   "hf download Qwen/Qwen3-1.7B --local-dir Qwen3-1.7B");
    expect_failure(arguments(folder.path().string()), (folder / "model").string());
  }
}

TEST(ProgramTest, errors_of_the_file_system_are_readable) {
  const TemporaryFolder folder;
  const fs::path one = folder / "one", other = folder / "other";
  fs::create_symlink(other, one);
  fs::create_symlink(one, other);
  const std::string reason = "Too many levels of symbolic links";
  expect_failure({"generate", "x", "--corpus", (folder / "x.jsonl").string(), "--corpus-tokens",
                  "1", "--text", one.string()},
                 one.string() + ": expected a file or a folder, found a link to a missing file");
  expect_failure({"inspect", one.string()}, reason);
}

TEST(ProgramTest, select_prints_the_published_layers) {
  const ProgramResult two =
      run_program({"select", "--scores", test_data("layer_sweep/layer_sweep_2b.csv")});
  EXPECT_EQ(two.code, 0);
  EXPECT_EQ(two.out, "[2,3,6,8,9,21,25]\n");
  const ProgramResult nine =
      run_program({"select", "--scores", test_data("layer_sweep/layer_sweep_8b.csv")});
  EXPECT_EQ(nine.out, "[1,2,4,6,7,10,24,33,34]\n");
}

TEST(ProgramTest, select_warns_where_the_original_recalls_nothing) {
  const TemporaryFolder folder;
  const auto scores = folder / "scores.csv";
  const auto run = [&](const std::string& original) {
    write_file(scores, "replaced_layer,recall/accuracy,next_token/accuracy\noriginal," + original +
                           ",0.5\n0,0,0.4\n1,0.1,0.3\n");
    return run_program({"select", "--scores", scores.string(), "--keep", "1"});
  };
  EXPECT_THAT(run("0").error, HasSubstr("hypenet: warning: " + scores.string() + ": recall: "));
  EXPECT_EQ(run("0.9").error, "");
}

TEST(ProgramTest, select_shows_a_table_before_the_layers) {
  const ProgramResult result =
      run_program({"select", "--scores", test_data("layer_sweep/layer_sweep_2b.csv"), "--table",
                   "--keep", "1"});
  EXPECT_EQ(result.code, 0);
  EXPECT_THAT(result.out, StartsWith("layer "));
  EXPECT_THAT(result.out, HasSubstr("50.0000       yes\n"));
  EXPECT_THAT(result.out, EndsWith("\n[3]\n"));
}

TEST(ProgramTest, select_rejects_bad_requests) {
  const std::string scores = test_data("layer_sweep/layer_sweep_2b.csv");
  expect_failure({"select", "--scores", scores, "--rule", "best"}, "halo, recall-drop, uniform");
  expect_failure({"select", "--scores", scores, "--keep", "29"}, "to 28, found 29");
  expect_failure({"select", "--scores", scores, "--keep", "-1"}, "found -1");
  expect_failure({"select", "--scores", "no/such.csv"}, "no/such.csv: cannot open");
}

TEST(ProgramTest, missing_folders_are_named) {
  for (const std::string command : {"inspect", "generate", "chat", "logits", "eval"}) {
    std::vector<std::string> arguments = {command, "no/such/folder"};
    if (command == "generate") arguments.insert(arguments.end(), {"--prompt", "x"});
    if (command == "logits") arguments.insert(arguments.end(), {"--ids", "1", "--out", "x"});
    if (command == "eval") arguments.insert(arguments.end(), {"--tasks", "piqa"});
    expect_failure(arguments, "no/such/folder");
  }
}

TEST(ProgramTest, a_full_disk_is_reported) {
  if (!fs::exists("/dev/full")) GTEST_SKIP() << "no /dev/full";
  testing_support::RunningProgram program(
      {"-c", std::string(HYPENET_BINARY) + " select --scores '" +
                 test_data("layer_sweep/layer_sweep_2b.csv") + "' > /dev/full"},
      "/bin/sh");
  const ProgramResult result = program.wait();
  EXPECT_EQ(result.code, 1);
  EXPECT_EQ(result.error, "hypenet: standard output: cannot write\n");
}

TEST_F(BrokenModel, truncated_weights_are_named) {
  const std::string weights = read_file(folder_ / "model.safetensors");
  write_file(folder_ / "model.safetensors", weights.substr(0, weights.size() - 100));
  expect_failure({"inspect", path()}, "model.safetensors: ");
  expect_failure({"generate", path(), "--prompt", "x"}, "model.safetensors: ");
}

TEST_F(BrokenModel, an_unknown_architecture_is_named) {
  set_config("architectures", {"MambaForCausalLM"});
  set_config("model_type", "mamba");
  expect_failure({"inspect", path()}, "config.json");
  expect_failure({"logits", path(), "--ids", "1", "--out", (folder_ / "x").string()}, "amba");
}

TEST_F(BrokenModel, heads_that_do_not_divide_are_named) {
  set_config("num_key_value_heads", 3);
  expect_failure({"inspect", path()}, "num_key_value_heads");
}

TEST_F(BrokenModel, a_config_that_is_no_json_is_named) {
  write_file(folder_ / "config.json", "{\"vocab_size\": ");
  expect_failure({"inspect", path()}, "config.json: expected JSON");
}

TEST_F(BrokenModel, weights_of_another_shape_are_named) {
  set_config("intermediate_size", 24);
  expect_failure({"logits", path(), "--ids", "1", "--out", (folder_ / "x").string()},
                 "expected shape");
}

TEST_F(BrokenModel, a_missing_tokenizer_is_named) {
  expect_failure({"generate", path(), "--prompt", "x"}, "tokenizer.json");
}

}  // namespace
}  // namespace hypenet
