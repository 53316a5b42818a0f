// hypenet quantize: what it refuses in one line, and a folder with its report.
#include <gmock/gmock.h>

#include "base/files.h"
#include "base/json.h"
#include "cli/commands.h"
#include "store/checkpoint.h"
#include "tests/support/expect_error_line.h"
#include "tests/support/model_folder.h"
#include "tests/support/program.h"
#include "tests/support/refusal.h"

namespace hypenet {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;
using testing_support::expect_error_line;
using testing_support::ProgramResult;
using testing_support::run_program;

class QuantizeProgram : public testing::Test {
 protected:
  QuantizeProgram() {
    testing_support::write_byte_model(root_ / "model");
    std::string text;
    for (int i = 0; i < 60; ++i) text += concat("Line ", i, ": the sun rose over the hills. ");
    write_file(root_ / "text.txt", text);
    write_file(root_ / "short.txt", "The sun.");
  }

  std::vector<std::string> arguments(std::vector<std::string> more) const {
    std::vector<std::string> all = {"quantize", model(), "--out", path("out")};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }
  ProgramResult refusal(const std::vector<std::string>& more) const {
    return testing_support::refusal(add_quantize_command, arguments(more));
  }
  std::string model() const { return path("model"); }
  std::string path(const char* name) const { return (root_ / name).string(); }

  TemporaryFolder root_;
};

TEST_F(QuantizeProgram, bad_options_are_refused_in_one_line) {
  const std::pair<std::vector<std::string>, const char*> cases[] = {
      {{"--to", "int5"}, "--to: expected int8, int4 or fp8, found int5"},
      {{"--to", "int4", "--method", "best"},
       "--method: expected nearest, search, gptq, awq or awq-gptq, found best"},
      {{"--to", "fp8", "--asymmetric"}, "--asymmetric: expected --to int4, found fp8"},
      {{"--to", "int4", "--method", "search", "--act-order"},
       "--act-order: expected --method gptq or awq-gptq, found search"},
      {{"--to", "int4", "--group", "12"}, "--group: expected a multiple of 8, found 12"},
      {{"--to", "int4", "--group", "-8"}, "--group: expected 8 to 4096, found -8"},
      {{"--to", "int8", "--group", "-8"}, "--group: expected 0 to 4096, found -8"},
      {{"--to", "fp8", "--group", "16"}, "--group: expected --to int4 or int8, found fp8"},
      {{"--to", "int4", "--rows", "0"}, "--rows: expected 1 to 100000, found 0"},
      {{"--to", "int4", "--method", "nearest"},
       "quantize: group 128: expected a number that divides the inputs of every layer, found 32 "
       "inputs of model.layers.0.self_attn.q_proj (16 divides all of them)"},
      {{"--to", "int4", "--group", "16", "--data", path("short.txt")},
       "short.txt: expected at least 513 tokens of text for a row of --context, found 1"},
      {{"--to", "int8", "--held-out", path("absent.txt")}, "absent.txt"}};
  for (const auto& [options, text] : cases) {
    SCOPED_TRACE(text);
    expect_error_line(refusal(options), text);
    EXPECT_FALSE(fs::exists(path("out")));
  }
}

TEST_F(QuantizeProgram, folders_that_are_in_the_way_or_quantised_already_are_refused) {
  expect_error_line(testing_support::refusal(add_quantize_command, {"quantize", model(), "--to",
                                                                    "int8", "--out", model()}),
                    "--out: expected another folder than the model's");
  // Before any work, of which lines would tell.
  expect_error_line(run_program({"quantize", model(), "--to", "int8", "--held-out",
                                 path("text.txt"), "--context", "32", "--out", "/proc/out"}),
                    "/proc/out");
  fs::create_directories(path("out"));
  write_file(root_ / "out" / "mine.txt", "mine");
  expect_error_line(refusal({"--to", "int8"}), "mine.txt");
  fs::remove_all(path("out"));
  ASSERT_EQ(run_program(arguments({"--to", "int8", "--held-out", path("text.txt")})).code, 0);
  expect_error_line(
      testing_support::refusal(add_quantize_command,
                               {"quantize", path("out"), "--to", "int8", "--out", path("again")}),
      "config.json: expected a model that is not quantised, found one by compressed-tensors");
}

TEST_F(QuantizeProgram, writes_a_folder_that_runs_and_a_report_of_it) {
  const ProgramResult result = run_program(
      arguments({"--to", "int4", "--group", "16", "--data", path("text.txt"), "--context", "32"}));
  ASSERT_EQ(result.code, 0) << result.error;
  EXPECT_THAT(result.out, AllOf(HasSubstr("int4 in groups of 16, by gptq"), HasSubstr("perplexity"),
                                HasSubstr("bits a number")));
  const Json report = read_json(root_ / "out" / "report.json");
  EXPECT_EQ(report["matrices"].size(), 21U);
  EXPECT_EQ(report["layer_errors"].size(), 3U);
  // Half a byte each, and two bytes of a scale for 16 of them.
  EXPECT_DOUBLE_EQ(report["bits_a_number"].get<double>(), 5);
  EXPECT_GT(report["kl"].get<double>(), 0);
  EXPECT_GT(report["agreement"].get<double>(), 0.5);
  EXPECT_NEAR(report["perplexity_after"].get<double>() / report["perplexity_before"].get<double>(),
              1, 0.1);
  EXPECT_THAT(read_file(root_ / "out" / "report.html"), HasSubstr("The worst matrices"));
  EXPECT_THAT(read_file(root_ / "out" / "report.md"), HasSubstr("| perplexity |"));
  const Json run = read_json(root_ / "out" / "run.json");
  EXPECT_EQ(run["settings"]["group"], 16);
  EXPECT_EQ(run["settings"]["data"], path("text.txt"));
  const ProgramResult answer =
      run_program({"generate", path("out"), "--prompt", "The sun", "--tokens", "4"});
  EXPECT_EQ(answer.code, 0) << answer.error;
  // An earlier folder of the program may be written anew.
  EXPECT_EQ(run_program(arguments({"--to", "fp8", "--held-out", path("text.txt"), "--context", "32",
                                   "--windows", "1"}))
                .code,
            0);
  EXPECT_EQ(read_json(root_ / "out" / "report.json")["bits_a_number"].get<double>() > 8, true);
}

TEST_F(QuantizeProgram, without_text_eight_bits_are_written_and_four_refused) {
  // The folder of the test has no data/.
  const fs::path before = fs::current_path();
  fs::current_path(root_.path());
  const ProgramResult eight = run_program(arguments({"--to", "int8"}));
  const ProgramResult four =
      run_program({"quantize", model(), "--to", "int4", "--group", "16", "--out", path("four")});
  fs::current_path(before);
  EXPECT_EQ(eight.code, 0) << eight.error;
  EXPECT_THAT(eight.error, HasSubstr("the report has no perplexity"));
  EXPECT_FALSE(read_json(root_ / "out" / "report.json").contains("perplexity_after"));
  expect_error_line(four,
                    "--data: expected text to calibrate on, found none, and no "
                    "data/train.jsonl.gz here (--method nearest needs none)");
}

}  // namespace
}  // namespace hypenet
