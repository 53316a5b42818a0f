// eval on several ranks: the answers, tables and files of one.
#include <gtest/gtest.h>

#include <set>
#include <sstream>

#include "base/json.h"
#include "tests/support/model_folder.h"
#include "tests/support/program.h"
#include "tests/support/temporary_folder.h"

namespace hypenet {
namespace {

namespace fs = std::filesystem;
using testing_support::ProgramResult;
using testing_support::run_program;

class EvalRanksTest : public testing::Test {
 protected:
  EvalRanksTest() {
    testing_support::write_byte_model(root_ / "model");
    std::string choices, completions, text;
    for (int i = 0; i < 12; ++i) {
      choices += concat(R"({"context": "Item )", i * i, R"( is", "choices": ["odd", "even )", i,
                        R"("], "answer": 0})", "\n");
      completions +=
          concat(R"({"context": "Number )", i, R"( is", "answer": "7", "max_tokens": 5})", "\n");
      text += concat("Sentence ", i, " of a text that nobody would read twice. ");
    }
    write_file(root_ / "choices.jsonl", choices);
    write_file(root_ / "completions.jsonl", completions);
    write_file(root_ / "text.txt", text);
  }

  std::string file(const std::string& name) const { return (root_ / name).string(); }

  ProgramResult eval(const std::string& out, const std::string& ranks,
                     const std::string& tasks) const {
    return run_program({"eval",          file("model"),
                        "--tasks",       tasks,
                        "--text",        file("text.txt"),
                        "--context",     "40",
                        "--windows",     "7",
                        "--batch",       "64",
                        "--threads",     "1",
                        "--out",         file(out),
                        "--log-samples", file(out + ".samples"),
                        "--ranks",       ranks});
  }

  std::string all_tasks() const {
    return file("choices.jsonl") + "," + file("completions.jsonl") + ",text";
  }

  /// But for the seconds and the date.
  Json results(const std::string& out) const {
    Json json = read_json(file(out));
    json.erase("date");
    json.erase("total_evaluation_time_seconds");
    return json;
  }

  std::multiset<std::string> journal(const std::string& out) const {
    std::istringstream lines(read_file(file(out + ".journal")));
    std::multiset<std::string> all;
    for (std::string line; std::getline(lines, line);) all.insert(line);
    return all;
  }

  TemporaryFolder root_;
};

TEST_F(EvalRanksTest, any_number_of_ranks_gives_the_same_results) {
  const ProgramResult alone = eval("1.json", "1", all_tasks());
  ASSERT_EQ(alone.code, 0) << alone.error;
  for (const std::string ranks : {"2", "3"}) {
    SCOPED_TRACE(ranks);
    const std::string out = ranks + ".json";
    const ProgramResult result = eval(out, ranks, all_tasks());
    ASSERT_EQ(result.code, 0) << result.error;
    EXPECT_EQ(result.out, alone.out);
    EXPECT_EQ(results(out), results("1.json"));
    EXPECT_EQ(read_file(file(out + ".samples")), read_file(file("1.json.samples")));
    EXPECT_EQ(journal(out), journal("1.json"));
  }
}

TEST_F(EvalRanksTest, answers_of_two_ranks_are_gone_on_with_by_one_and_three) {
  ASSERT_EQ(eval("whole.json", "1", all_tasks()).code, 0);
  for (const std::string ranks : {"1", "3"}) {
    SCOPED_TRACE(ranks);
    const std::string out = concat("from2to", ranks, ".json");
    ASSERT_EQ(eval(out, "2", all_tasks()).code, 0);
    // As a killed job leaves it: some answers, and the beginning of one.
    const std::string journal = read_file(file(out + ".journal"));
    const size_t end = journal.find('\n', journal.size() / 2);
    ASSERT_LT(end + 10, journal.size());
    write_file(file(out + ".journal"), journal.substr(0, end + 10));
    const ProgramResult result = eval(out, ranks, all_tasks());
    ASSERT_EQ(result.code, 0) << result.error;
    EXPECT_EQ(results(out), results("whole.json"));
    EXPECT_EQ(this->journal(out), this->journal("whole.json"));
  }
}

TEST_F(EvalRanksTest, what_is_wrong_is_told_once) {
  const ProgramResult result = eval("bad.json", "2", file("missing.jsonl"));
  EXPECT_EQ(result.code, 1);
  const size_t line = result.error.find("hypenet: ");
  ASSERT_NE(line, std::string::npos) << result.error;
  EXPECT_EQ(result.error.find("hypenet: ", line + 1), std::string::npos) << result.error;
}

}  // namespace
}  // namespace hypenet
