// Sweep and pilots of several processes: the scores, files and pilots of one.
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>

#include "base/json.h"
#include "tests/support/program.h"
#include "tests/support/short_conversion.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/wait_until.h"

namespace hypenet {
namespace {

namespace fs = std::filesystem;
using testing_support::ProgramResult;
using testing_support::run_program;
using testing_support::RunningProgram;
using testing_support::wait_until;

class SelectRanks : public testing::Test {
 protected:
  /// Aligned by one process: two train the same twins within rounding only.
  SelectRanks() {
    testing_support::write_text(folder_ / "text.txt");
    EXPECT_EQ(run_program(command("aligned", "1", "align")).code, 0);
  }

  std::vector<std::string> command(const std::string& out, const std::string& ranks,
                                   const std::string& until) const {
    auto arguments =
        testing_support::short_conversion(folder_ / out, (folder_ / "text.txt").string());
    for (const std::string setting :
         {"align.steps=2", "align.sequences=3", "distill.sequences=3", "finetune.sequences=3",
          "select.rule=pilot", "select.pilot.steps=24", "select.pilot.candidates=3",
          "distill.log_every=8", "sweep.context=256", "sweep.needles=2"}) {
      arguments.insert(arguments.end(), {"--set", setting});
    }
    arguments.insert(arguments.end(), {"--ranks", ranks, "--until", until});
    return arguments;
  }

  ProgramResult select(const std::string& out, const std::string& ranks) const {
    if (!fs::exists(folder_ / out))
      fs::copy(folder_ / "aligned", folder_ / out, fs::copy_options::recursive);
    return run_program(command(out, ranks, "select"));
  }

  /// Stops the job once both ranks have saved a pilot's state.
  ProgramResult stop_pilots(const std::string& out) const {
    fs::copy(folder_ / "aligned", folder_ / out, fs::copy_options::recursive);
    RunningProgram program(command(out, "2", "select"));
    const auto states = [&] {
      int64_t count = 0;
      if (!fs::exists(folder_ / out / "3-pilots")) return count;
      for (const auto& entry : fs::recursive_directory_iterator(folder_ / out / "3-pilots"))
        count += entry.path().string().ends_with(".state.safetensors");
      return count;
    };
    EXPECT_TRUE(wait_until([&] { return states() == 2; }));
    ::kill(program.process(), SIGINT);
    return program.wait();
  }

  std::string read(const std::string& file) const { return read_file(folder_ / file); }

  void expect_same_selection(const std::string& out, const std::string& expected) const {
    for (const std::string file : {"scores.csv", "pilots.csv", "selection.json"})
      EXPECT_EQ(read(out + "/3-select/" + file), read(expected + "/3-select/" + file)) << file;
    int64_t pilots = 0;
    for (const auto& entry : fs::directory_iterator(folder_ / expected / "3-pilots")) {
      const std::string name = "/3-pilots/" + entry.path().filename().string();
      EXPECT_EQ(read(out + name + "/result.json"), read(expected + name + "/result.json"));
      EXPECT_EQ(std::ranges::count(read(out + name + "/metrics.jsonl"), '\n'), 3) << name;
      ++pilots;
    }
    EXPECT_EQ(pilots, 3);
    const fs::directory_iterator found(folder_ / out / "3-pilots");
    EXPECT_EQ(std::distance(begin(found), end(found)), pilots) << "nothing else is left";
  }

  TemporaryFolder folder_;
};

TEST_F(SelectRanks, pilots_that_two_ranks_began_are_gone_on_with_by_any_number) {
  const ProgramResult alone = select("1", "1");
  ASSERT_EQ(alone.code, 0) << alone.error;
  const ProgramResult stopped = stop_pilots("stopped");
  ASSERT_EQ(stopped.code, 130) << stopped.error;
  EXPECT_NE(stopped.error.find("interrupted; the same command goes on"), std::string::npos)
      << stopped.error;
  fs::copy(folder_ / "stopped", folder_ / "3", fs::copy_options::recursive);
  for (const std::string ranks : {"1", "3"}) {
    SCOPED_TRACE(ranks);
    const std::string out = ranks == "1" ? "stopped" : "3";
    const ProgramResult result = select(out, ranks);
    ASSERT_EQ(result.code, 0) << result.error;
    EXPECT_NE(result.error.find("3-pilots: 3 of 3, "), std::string::npos) << result.error;
    EXPECT_NE(result.error.find(": going on after step "), std::string::npos) << result.error;
    expect_same_selection(out, "1");
  }
}

TEST_F(SelectRanks, sweep_writes_the_same_scores_and_tells_them_once) {
  const auto sweep = [&](const std::string& ranks) {
    return run_program({"sweep",     HYPENET_SOURCE "/models/tiny-teacher",
                        "--aligned", (folder_ / "aligned/2-align").string(),
                        "--data",    (folder_ / "text.txt").string(),
                        "--tasks",   "recall,text,lazy",
                        "--scores",  (folder_ / (ranks + ".csv")).string(),
                        "--context", "256",
                        "--needles", "2",
                        "--prompts", "9",
                        "--windows", "9",
                        "--threads", "1",
                        "--ranks",   ranks});
  };
  const ProgramResult alone = sweep("1");
  ASSERT_EQ(alone.code, 0) << alone.error;
  const ProgramResult two = sweep("2");
  ASSERT_EQ(two.code, 0) << two.error;
  EXPECT_EQ(read("2.csv"), read("1.csv"));
  EXPECT_EQ(two.out, (folder_ / "2.csv").string() + "\n");
}

}  // namespace
}  // namespace hypenet
