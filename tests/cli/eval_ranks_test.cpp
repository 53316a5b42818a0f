// eval on several ranks: the answers, tables and files of one.
#include <gmock/gmock.h>

#include <csignal>
#include <set>
#include <sstream>

#include "base/json.h"
#include "tests/support/children.h"
#include "tests/support/expect_error_line.h"
#include "tests/support/model_folder.h"
#include "tests/support/program.h"
#include "tests/support/short_conversion.h"
#include "tests/support/wait_until.h"

namespace hypenet {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing_support::environment_of_rank;
using testing_support::expect_error_line;
using testing_support::ProgramResult;
using testing_support::run_program;
using testing_support::RunningProgram;
using testing_support::wait_until;

class EvalRanksTest : public testing::Test {
 protected:
  EvalRanksTest() {
    testing_support::write_tiny_model(root_ / "model", 4096);
    fs::copy_file(HYPENET_SOURCE "/models/tiny-teacher/tokenizer.json",
                  root_ / "model/tokenizer.json");
    write_json(root_ / "model/tokenizer_config.json", {{"eos_token", "<|endoftext|>"}});
    std::string choices, completions, text;
    for (int i = 0; i < 12; ++i) {
      choices += concat(R"({"context": "Item )", i * i, R"( is", "choices": ["odd", "even )", i,
                        R"("], "answer": 0})", "\n");
      completions +=
          concat(R"({"context": "Number )", i, R"( is", "answer": "7", "max_tokens": 5})", "\n");
    }
    for (int i = 0; i < 80; ++i) text += concat("This is sentence number ", i, ". ");
    write_file(root_ / "choices.jsonl", choices);
    write_file(root_ / "completions.jsonl", completions);
    write_file(root_ / "text.txt", text);
  }

  std::string file(const std::string& name) const { return (root_ / name).string(); }

  std::vector<std::string> command(const std::string& out, const std::string& ranks,
                                   const std::string& tasks,
                                   const std::vector<std::string>& more = {}) const {
    std::vector<std::string> arguments = {"eval", file("model"), "--tasks", tasks,     "--threads",
                                          "1",    "--out",       file(out), "--ranks", ranks};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
  }

  /// Every kind of measure: scored and generated items, text and recall.
  ProgramResult eval(const std::string& out, const std::string& ranks) const {
    const std::string tasks =
        file("choices.jsonl") + "," + file("completions.jsonl") + ",text,recall";
    return run_program(command(
        out, ranks, tasks,
        {"--text", file("text.txt"), "--context", "40", "--windows", "7", "--contexts", "200",
         "--prompts", "5", "--batch", "64", "--log-samples", file(out + ".samples")}));
  }

  /// But for the seconds and the date.
  Json results(const std::string& out) const {
    Json json = read_json(file(out));
    json.erase("date");
    json.erase("total_evaluation_time_seconds");
    return json;
  }

  std::multiset<std::string> answers(const std::string& journal) const {
    std::istringstream lines(read_file(file(journal)));
    std::multiset<std::string> all;
    for (std::string line; std::getline(lines, line);) all.insert(line);
    return all;
  }

  TemporaryFolder root_;
};

TEST_F(EvalRanksTest, any_number_of_ranks_gives_the_same_results) {
  const ProgramResult alone = eval("1.json", "1");
  ASSERT_EQ(alone.code, 0) << alone.error;
  for (const std::string ranks : {"2", "3"}) {
    SCOPED_TRACE(ranks);
    const std::string out = ranks + ".json";
    const ProgramResult result = eval(out, ranks);
    ASSERT_EQ(result.code, 0) << result.error;
    EXPECT_EQ(result.out, alone.out);
    EXPECT_EQ(results(out), results("1.json"));
    EXPECT_EQ(read_file(file(out + ".samples")), read_file(file("1.json.samples")));
    EXPECT_EQ(answers(out + ".journal"), answers("1.json.journal"));
    EXPECT_EQ(result.error.find("eval: 7 windows of text\n"),
              result.error.rfind("eval: 7 windows of text\n"))
        << "told once: " << result.error;
  }
}

TEST_F(EvalRanksTest, answers_of_two_ranks_are_gone_on_with_by_one_and_three) {
  ASSERT_EQ(eval("whole.json", "1").code, 0);
  for (const std::string ranks : {"1", "3"}) {
    SCOPED_TRACE(ranks);
    const std::string out = concat("from2to", ranks, ".json");
    ASSERT_EQ(eval(out, "2").code, 0);
    // As a killed job leaves it: some answers, and the beginning of one.
    const std::string journal = read_file(file(out + ".journal"));
    const size_t end = journal.find('\n', journal.size() / 2);
    ASSERT_LT(end + 10, journal.size());
    write_file(file(out + ".journal"), journal.substr(0, end + 10));
    const ProgramResult result = eval(out, ranks);
    ASSERT_EQ(result.code, 0) << result.error;
    EXPECT_EQ(results(out), results("whole.json"));
    EXPECT_EQ(answers(out + ".journal"), answers("whole.json.journal"));
  }
}

TEST_F(EvalRanksTest, needle_grids_of_two_models_are_those_of_one_rank) {
  const auto grid = [&](const std::string& ranks) {
    return run_program(
        command(ranks + ".json", ranks, "needle-grid",
                {"--needle", "facts", "--text", file("text.txt"), "--contexts", "150,200",
                 "--depths", "2", "--samples", "3", "--compare-with",
                 HYPENET_SOURCE "/models/tiny-teacher", "--plot", file(ranks + ".svg")}));
  };
  const ProgramResult alone = grid("1"), together = grid("2");
  ASSERT_EQ(alone.code, 0) << alone.error;
  ASSERT_EQ(together.code, 0) << together.error;
  EXPECT_EQ(together.out, alone.out);
  EXPECT_EQ(results("2.json"), results("1.json"));
  EXPECT_EQ(read_file(file("2.svg")), read_file(file("1.svg")));
  EXPECT_EQ(answers("2.json.journal"), answers("1.json.journal"));
  EXPECT_EQ(answers("2.json.journal.compared"), answers("1.json.journal.compared"));
}

TEST_F(EvalRanksTest, the_evaluation_of_a_run_is_that_of_one_rank) {
  testing_support::write_text(root_ / "train.txt");
  auto convert = testing_support::short_conversion(root_ / "run", file("train.txt"));
  convert.insert(convert.end(), {"--set", "select.layers=[2,5]"});
  const ProgramResult alone = run_program(convert);
  ASSERT_EQ(alone.code, 0) << alone.error;
  const std::string results = read_file(root_ / "run/results.json");
  fs::remove(root_ / "run/results.json");
  convert.insert(convert.end(), {"--ranks", "2"});
  const ProgramResult together = run_program(convert);
  ASSERT_EQ(together.code, 0) << together.error;
  EXPECT_EQ(together.out, alone.out);
  EXPECT_EQ(read_file(root_ / "run/results.json"), results);
}

TEST_F(EvalRanksTest, a_job_that_is_interrupted_keeps_its_answers) {
  std::string items;
  for (int i = 0; i < 4000; ++i) {
    items +=
        concat(R"({"context": "Number )", i, R"( is", "answer": "7", "max_tokens": 60})", "\n");
  }
  write_file(root_ / "long.jsonl", items);
  RunningProgram program(command("long.json", "2", file("long.jsonl")));
  const fs::path kept = file("long.json.journal");
  ASSERT_TRUE(wait_until([&] { return fs::exists(kept) && fs::file_size(kept) > 5000; }));
  ::kill(program.process(), SIGINT);
  const ProgramResult result = program.wait();
  EXPECT_EQ(result.code, 130) << result.error;
  EXPECT_THAT(result.error, HasSubstr("interrupted; finished answers are in " + kept.string()));
  EXPECT_EQ(result.error.find("interrupted"), result.error.rfind("interrupted")) << result.error;
  EXPECT_GT(answers("long.json.journal").size(), 10U);
}

TEST_F(EvalRanksTest, what_is_wrong_is_told_once) {
  const ProgramResult result = run_program(command("bad.json", "2", file("missing.jsonl")));
  EXPECT_EQ(result.code, 1);
  const size_t line = result.error.find("hypenet: ");
  ASSERT_NE(line, std::string::npos) << result.error;
  EXPECT_EQ(result.error.find("hypenet: ", line + 1), std::string::npos) << result.error;
  EXPECT_THAT(result.error, HasSubstr("missing.jsonl"));
}

/// Two ranks as a launcher starts them, with a folder each.
TEST_F(EvalRanksTest, ranks_that_measure_other_items_are_refused_by_name) {
  fs::create_directories(root_ / "here");
  fs::create_directories(root_ / "there");
  write_file(root_ / "here/items.jsonl", R"({"context": "a", "answer": "7", "max_tokens": 3})"
                                         "\n");
  write_file(root_ / "there/items.jsonl", R"({"context": "b", "answer": "7", "max_tokens": 3})"
                                          "\n");
  const std::string run =
      concat(" " HYPENET_BINARY " eval ", file("model"), " --tasks items.jsonl");
  const ProgramResult result =
      RunningProgram({"-c", concat("cd ", root_.path().string(), "/here; ", environment_of_rank(0),
                                   run, " & cd ../there; ", environment_of_rank(1), run, "; wait")},
                     "/bin/sh")
          .wait();
  EXPECT_THAT(result.error, HasSubstr("hypenet: rank 1 on "));
  EXPECT_THAT(
      result.error,
      HasSubstr("eval: number and hash of the rows of token ids: expected the first rank's"));
}

}  // namespace
}  // namespace hypenet
