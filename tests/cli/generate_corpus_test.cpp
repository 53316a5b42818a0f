// hypenet generate --corpus through the program, with the tiny teacher of the repository.
#include <gmock/gmock.h>

#include <csignal>

#include "base/json.h"
#include "data/documents.h"
#include "tests/support/children.h"
#include "tests/support/expect_error_line.h"
#include "tests/support/program.h"
#include "tests/support/wait_until.h"

namespace hypenet {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing_support::children_of;
using testing_support::expect_error_line;
using testing_support::ProgramResult;
using testing_support::run_program;
using testing_support::RunningProgram;
using testing_support::wait_until;

constexpr const char* kText =
    "{\"body\": \"The sun rises in the east. Water is made of hydrogen and oxygen. Rivers carry "
    "sand to the sea.\"}\n{\"body\": \"Every number has a successor.\\nIn the spring many plants "
    "begin to grow.\"}\n";

class GenerateCorpus : public testing::Test {
 protected:
  GenerateCorpus() { write_file(root_ / "text.jsonl", kText); }

  std::vector<std::string> command(const std::string& name,
                                   const std::vector<std::string>& more = {}) const {
    const fs::path teacher = fs::path(HYPENET_SOURCE) / "models" / "tiny-teacher";
    std::vector<std::string> arguments = {"generate",        teacher.string(),
                                          "--corpus",        (root_ / name).string(),
                                          "--text",          (root_ / "text.jsonl").string(),
                                          "--text-field",    "body",
                                          "--tokens",        "20",
                                          "--prompt-tokens", "1,5",
                                          "--threads",       "1"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
  }

  TemporaryFolder root_;
};

std::vector<std::string> documents(const fs::path& file) {
  std::vector<std::string> texts;
  for_each_document(file, "text", [&](std::string_view text) {
    texts.emplace_back(text);
    return true;
  });
  return texts;
}

TEST_F(GenerateCorpus, is_text_to_train_on_with_its_settings_beside_it) {
  const auto asked = command("x.jsonl.gz", {"--corpus-tokens", "300"});
  const ProgramResult result = run_program(asked);
  ASSERT_EQ(result.code, 0) << result.error;
  EXPECT_EQ(result.out, (root_ / "x.jsonl.gz").string() + "\n");
  const auto texts = documents(root_ / "x.jsonl.gz");
  EXPECT_GE(texts.size(), 12);
  const Json record = read_json(root_ / "x.jsonl.gz.json");
  EXPECT_EQ(record["stage"], "corpus");
  EXPECT_EQ(record["documents"], texts.size());
  EXPECT_GE(record["tokens"], 300);
  EXPECT_EQ(record["settings"]["temperature"], 1);
  EXPECT_EQ(record["settings"]["prompt_tokens"], Json({1, 5}));
  EXPECT_EQ(record["settings"]["text"][0]["file"], "text.jsonl");
  EXPECT_TRUE(record.contains("source_commit"));
  EXPECT_FALSE(fs::exists(root_ / "x.jsonl.gz.journal"));

  const auto before = fs::last_write_time(root_ / "x.jsonl.gz");
  const ProgramResult again = run_program(asked);
  EXPECT_EQ(again.code, 0);
  EXPECT_THAT(again.out, HasSubstr("already there"));
  EXPECT_EQ(fs::last_write_time(root_ / "x.jsonl.gz"), before);
  expect_error_line(run_program(command("x.jsonl.gz", {"--corpus-tokens", "301"})),
                    "made with other settings (corpus_tokens: expected 301, found 300)");
  // Corpora that were made before this setting came are still there.
  EXPECT_FALSE(record["settings"].contains("presence_penalty"));
  const ProgramResult other =
      run_program(command("x.jsonl.gz", {"--corpus-tokens", "300", "--presence-penalty", "0.5"}));
  expect_error_line(other, "made with other settings (presence_penalty");
}

TEST_F(GenerateCorpus, goes_on_after_it_was_killed) {
  const std::vector<std::string> most = {"--corpus-tokens", "2000", "--sequences", "4"};
  const fs::path journal = root_ / "cut.jsonl.journal";
  RunningProgram first(command("cut.jsonl", most));
  const auto has_documents = [&] { return fs::exists(journal) && fs::file_size(journal) > 3000; };
  ASSERT_TRUE(wait_until(has_documents));
  ::kill(first.process(), SIGKILL);
  EXPECT_EQ(first.wait().code, 128 + SIGKILL);
  const std::string done = read_file(journal);
  EXPECT_GT(std::count(done.begin(), done.end(), '\n'), 1);

  RunningProgram second(command("cut.jsonl", most));
  const auto grows = [&] { return fs::exists(journal) && fs::file_size(journal) > done.size(); };
  ASSERT_TRUE(wait_until(grows));
  ::kill(second.process(), SIGINT);
  const ProgramResult interrupted = second.wait();
  EXPECT_EQ(interrupted.code, 130);
  EXPECT_THAT(interrupted.error, HasSubstr("the same command goes on from here"));

  EXPECT_EQ(run_program(command("cut.jsonl", most)).code, 0);
  EXPECT_EQ(run_program(command("whole.jsonl", most)).code, 0);
  EXPECT_EQ(read_file(root_ / "cut.jsonl"), read_file(root_ / "whole.jsonl"));
}

TEST_F(GenerateCorpus, is_the_same_file_by_any_number_of_ranks) {
  const auto by = [&](const std::string& ranks) {
    const std::string name = ranks + ".jsonl";
    const ProgramResult result =
        run_program(command(name, {"--corpus-tokens", "1000", "--ranks", ranks}));
    EXPECT_EQ(result.code, 0) << result.error;
    EXPECT_EQ(result.out, (root_ / name).string() + "\n");
    EXPECT_EQ(read_json(root_ / (name + ".json"))["ranks"], std::stoi(ranks));
    return read_file(root_ / name);
  };
  const std::string alone = by("1");
  EXPECT_EQ(by("2"), alone);
  EXPECT_EQ(by("3"), alone);
}

TEST_F(GenerateCorpus, goes_on_by_other_ranks_after_it_was_killed) {
  const auto by = [&](const std::string& ranks) {
    return command("cut.jsonl",
                   {"--corpus-tokens", "1000000", "--sequences", "1", "--ranks", ranks});
  };
  const fs::path journal = root_ / "cut.jsonl.journal";
  const auto size = [&] { return fs::exists(journal) ? fs::file_size(journal) : 0; };
  RunningProgram first(by("2"));
  ASSERT_TRUE(wait_until([&] { return size() > 3000; }));
  const std::vector<pid_t> ranks = children_of(first.process());
  ASSERT_EQ(ranks.size(), 2U);
  ::kill(ranks[1], SIGKILL);
  const ProgramResult killed = first.wait();
  EXPECT_EQ(killed.code, 1);
  EXPECT_THAT(killed.error, HasSubstr("ended by signal 9"));

  const auto before = size();
  RunningProgram second(by("3"));
  ASSERT_TRUE(wait_until([&] { return size() > before; }));
  ::kill(second.process(), SIGINT);
  const ProgramResult interrupted = second.wait();
  EXPECT_EQ(interrupted.code, 130) << interrupted.error;
  EXPECT_THAT(interrupted.error, HasSubstr("the same command goes on from here: "));

  ASSERT_EQ(run_program(command("whole.jsonl", {"--corpus-tokens", "2000"})).code, 0);
  const std::string whole = read_file(root_ / "whole.jsonl"), lines = read_file(journal);
  const std::string cut = lines.substr(lines.find('\n') + 1, whole.size());
  EXPECT_GT(cut.size(), 3000);
  EXPECT_TRUE(whole.starts_with(cut.substr(0, cut.rfind('\n') + 1)));
}

TEST_F(GenerateCorpus, what_makes_no_sense_is_refused) {
  const auto refused = [&](const std::vector<std::string>& more, const std::string& text) {
    expect_error_line(run_program(command("x.jsonl", more)), text);
  };
  refused({}, "--corpus requires --corpus-tokens");
  refused({"--corpus-tokens", "0"}, "--corpus-tokens: expected at least 1, found 0");
  refused({"--corpus-tokens", "9", "--json"}, "--json");
  expect_error_line(run_program(command("x.parquet", {"--corpus-tokens", "9"})),
                    "--corpus: expected a file ending in .jsonl or .jsonl.gz");
  expect_error_line(run_program(command("none/x.jsonl", {"--corpus-tokens", "9"})), "cannot write");
  for (const std::string option : {"--sequences", "--ranks"}) {
    expect_error_line(run_program({"generate", "DIR", "--prompt", "x", option, "2"}),
                      option + " requires --corpus");
  }
  EXPECT_FALSE(fs::exists(root_ / "x.jsonl.journal"));
}

TEST_F(GenerateCorpus, a_field_of_plain_text_is_refused) {
  write_file(root_ / "text.txt", kText);
  std::vector<std::string> asked = command("x.jsonl", {"--corpus-tokens", "300"});
  *std::find(asked.begin(), asked.end(), (root_ / "text.jsonl").string()) =
      (root_ / "text.txt").string();
  expect_error_line(run_program(asked),
                    "--text-field: has no effect on plain text; .jsonl and .parquet files have "
                    "fields");
}

}  // namespace
}  // namespace hypenet
