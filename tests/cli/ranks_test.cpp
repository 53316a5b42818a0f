// One job of several processes, as a user starts it: the same losses, the same bytes after a rank
// was killed, one line when something fails, and nobody left behind.
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <iterator>
#include <sstream>
#include <thread>

#include "base/json.h"
#include "base/random.h"
#include "tests/support/children.h"
#include "tests/support/logged_losses.h"
#include "tests/support/program.h"
#include "tests/support/short_conversion.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/wait_until.h"

namespace hypenet {
namespace {

namespace fs = std::filesystem;
using testing_support::children_of;
using testing_support::environment_of_rank;
using testing_support::logged_losses;
using testing_support::ProgramResult;
using testing_support::run_program;
using testing_support::RunningProgram;
using testing_support::seed_of_this_run;
using testing_support::short_conversion;
using testing_support::wait_until;
using testing_support::write_text;
using Clock = std::chrono::steady_clock;

bool is_there(pid_t process) { return fs::exists(concat("/proc/", process, "/exe")); }

class RanksTest : public testing::Test {
 protected:
  void SetUp() override { write_text(folder_ / "text.txt"); }

  std::vector<std::string> command(const std::string& out, const std::string& ranks) const {
    auto arguments = short_conversion(folder_ / out, (folder_ / "text.txt").string());
    for (const std::string setting :
         {"align.sequences=4", "distill.sequences=4", "finetune.sequences=4", "align.log_every=1",
          "distill.log_every=1", "finetune.log_every=1", "select.layers=[2,5]"}) {
      arguments.insert(arguments.end(), {"--set", setting});
    }
    arguments.insert(arguments.end(), {"--ranks", ranks, "--until", "finetune"});
    return arguments;
  }

  std::vector<double> losses(const std::string& out) const { return logged_losses(folder_ / out); }

  std::string weights(const std::string& out) const {
    return read_file(folder_ / (out + "/6-finetune/model.safetensors"));
  }

  /// A conversion whose environment a launcher set so.
  ProgramResult with_environment(const std::string& settings) const {
    return RunningProgram({"-c", concat(settings, " exec " HYPENET_BINARY " convert --recipe ",
                                        HYPENET_SOURCE, "/recipes/tiny.json --out ",
                                        (folder_ / "bad").string(), " --ranks-patience 2")},
                          "/bin/sh")
        .wait();
  }

  /// Two ranks that train on and on, once a state is saved.
  struct LongJob {
    explicit LongJob(const RanksTest& test) : program(arguments(test)) {
      const fs::path state = test.folder_ / "out/2-align.state.safetensors";
      has_state = wait_until([&] { return fs::exists(state); });
      ranks = children_of(program.process());
    }
    static std::vector<std::string> arguments(const RanksTest& test) {
      auto all = test.command("out", "2");
      all.insert(all.end(), {"--set", "align.steps=100000"});
      return all;
    }
    RunningProgram program;
    bool has_state = false;
    std::vector<pid_t> ranks;
  };

  TemporaryFolder folder_;
};

void expect_near(const std::vector<double>& losses, const std::vector<double>& expected) {
  ASSERT_EQ(losses.size(), expected.size());
  for (size_t i = 0; i < losses.size(); ++i)
    EXPECT_NEAR(losses[i], expected[i], 2e-5 * std::abs(expected[i])) << "step " << i;
}

TEST_F(RanksTest, any_number_of_ranks_trains_the_same_losses) {
  const ProgramResult alone = run_program(command("1", "1"));
  ASSERT_EQ(alone.code, 0) << alone.error;
  const std::vector<double> expected = losses("1");
  ASSERT_EQ(expected.size(), 23U);
  for (const std::string ranks : {"2", "3", "4"}) {
    SCOPED_TRACE(ranks);
    const ProgramResult result = run_program(command(ranks, ranks));
    ASSERT_EQ(result.code, 0) << result.error;
    EXPECT_EQ(result.out.find("finetune: "), 0U) << "told once: " << result.out;
    EXPECT_EQ(result.out.find("finetune: ", 1), std::string::npos) << result.out;
    expect_near(losses(ranks), expected);
    std::istringstream lines(read_file(folder_ / (ranks + "/metrics.jsonl")));
    for (std::string line; std::getline(lines, line);) {
      const double waiting = parse_json(line, "metrics").value("waiting", 0.0);
      EXPECT_GT(waiting, 0) << line;
      EXPECT_LE(waiting, 1) << line;
    }
  }
}

TEST_F(RanksTest, ranks_that_share_rows_train_the_same_losses) {
  const ProgramResult alone = run_program(command("1", "1"));
  ASSERT_EQ(alone.code, 0) << alone.error;
  auto arguments = command("2", "2");
  for (const std::string stage : {"align", "distill", "finetune"})
    arguments.insert(arguments.end(), {"--set", stage + ".row_ranks=2"});
  const ProgramResult result = run_program(arguments);
  ASSERT_EQ(result.code, 0) << result.error;
  expect_near(losses("2"), losses("1"));
  arguments = command("3", "2");
  arguments.insert(arguments.end(), {"--set", "finetune.row_ranks=3"});
  EXPECT_NE(run_program(arguments).error.find(
                "finetune: row_ranks: expected a divisor of the 2 ranks, found 3"),
            std::string::npos);
}

TEST_F(RanksTest, a_state_of_two_ranks_goes_on_on_three_and_on_one) {
  const auto longer = [&](const std::string& out, const std::string& ranks) {
    auto arguments = command(out, ranks);
    arguments.insert(arguments.end() - 4, {"--set", "align.steps=30"});
    return arguments;
  };
  RunningProgram program(longer("out", "2"));
  ASSERT_TRUE(wait_until([&] { return fs::exists(folder_ / "out/2-align.state.safetensors"); }));
  ::kill(program.process(), SIGINT);
  const ProgramResult stopped = program.wait();
  ASSERT_EQ(stopped.code, 130) << stopped.error;
  EXPECT_NE(stopped.error.find("interrupted; the same command goes on"), std::string::npos)
      << stopped.error;
  auto distilled = longer("out", "3");
  distilled.back() = "distill";
  const ProgramResult three = run_program(distilled);
  ASSERT_EQ(three.code, 0) << three.error;
  const ProgramResult one = run_program(longer("out", "1"));
  ASSERT_EQ(one.code, 0) << one.error;
  ASSERT_EQ(run_program(longer("alone", "1")).code, 0);
  expect_near(losses("out"), losses("alone"));
}

/// Kills a rank of the conversion at a random moment, which ends the job. False: it had come to its
/// end before.
bool kill_one(const std::vector<std::string>& command, Random& random, int64_t most_milliseconds) {
  RunningProgram program(command);
  EXPECT_TRUE(wait_until([&] { return children_of(program.process()).size() == 2; }));
  const std::vector<pid_t> ranks = children_of(program.process());
  std::this_thread::sleep_for(std::chrono::milliseconds(random.below(most_milliseconds)));
  ::kill(ranks[random.below(2)], SIGKILL);
  const auto began = Clock::now();
  const ProgramResult result = program.wait();
  EXPECT_LT(Clock::now() - began, std::chrono::seconds(30));
  for (const pid_t rank : ranks) EXPECT_FALSE(is_there(rank));
  if (result.code == 0) return false;
  EXPECT_EQ(result.code, 1);
  const size_t line = result.error.find("hypenet: rank ");
  EXPECT_NE(line, std::string::npos) << result.error;
  EXPECT_NE(result.error.find("ended by signal 9", line), std::string::npos) << result.error;
  EXPECT_EQ(result.error.find("hypenet: ", line + 1), std::string::npos) << result.error;
  return true;
}

/// HYPENET_TEST_KILLS says how often (2).
TEST_F(RanksTest, a_killed_rank_ends_the_job_which_goes_on_to_the_same_weights) {
  const uint64_t seed = seed_of_this_run();
  SCOPED_TRACE(concat("HYPENET_TEST_SEED=", seed, " draws these moments again"));
  Random random(seed);
  const char* const asked = std::getenv("HYPENET_TEST_KILLS");
  const int wanted = asked != nullptr ? std::stoi(asked) : 2;
  ASSERT_EQ(run_program(command("whole", "2")).code, 0);
  int kills = 0;
  for (int run = 0; kills < wanted; ++run) {
    const std::string out = concat("killed", run);
    int64_t most_milliseconds = 2500;  // growing, so that the end is reached
    while (kill_one(command(out, "2"), random, most_milliseconds))
      ++kills, most_milliseconds += 500;
    ASSERT_EQ(run_program(command(out, "2")).code, 0);
    ASSERT_TRUE(weights(out) == weights("whole")) << "after " << kills << " kills";
  }
  RecordProperty("kills", kills);
}

TEST_F(RanksTest, a_rank_that_is_stopped_is_missed_and_named) {
  LongJob job(*this);
  auto& [program, has_state, ranks] = job;
  ASSERT_TRUE(has_state);
  ASSERT_EQ(ranks.size(), 2U);
  ::kill(ranks[1], SIGSTOP);
  const auto began = Clock::now();
  const ProgramResult result = program.wait();
  EXPECT_LT(Clock::now() - began, std::chrono::seconds(50));  // 30, on a quiet machine
  EXPECT_EQ(result.code, 1);
  EXPECT_NE(result.error.find("gone: no sign of life"), std::string::npos) << result.error;
  for (const pid_t rank : ranks) EXPECT_FALSE(is_there(rank));
}

TEST_F(RanksTest, ranks_that_were_stopped_together_do_not_miss_each_other) {
  LongJob job(*this);
  auto& [program, has_state, ranks] = job;
  ASSERT_TRUE(has_state);
  ASSERT_EQ(ranks.size(), 2U);
  for (const pid_t rank : ranks) ::kill(rank, SIGSTOP);
  std::this_thread::sleep_for(std::chrono::seconds(17));
  for (const pid_t rank : ranks) ::kill(rank, SIGCONT);
  std::this_thread::sleep_for(std::chrono::seconds(3));
  for (const pid_t rank : ranks) EXPECT_TRUE(is_there(rank));
  ::kill(program.process(), SIGINT);
  const ProgramResult result = program.wait();
  EXPECT_EQ(result.code, 130) << result.error;
}

TEST_F(RanksTest, a_rank_that_waits_for_the_others_ends_when_it_is_interrupted) {
  for (const int signal : {SIGINT, SIGTERM}) {
    for (const int64_t rank : {0, 1}) {
      RunningProgram program(
          {"-c", concat(environment_of_rank(rank), " exec " HYPENET_BINARY " convert --recipe ",
                        HYPENET_SOURCE, "/recipes/tiny.json --out ", (folder_ / "out").string())},
          "/bin/sh");
      // It waits once there are the threads that take signals and watch over the meeting.
      const fs::path threads = concat("/proc/", program.process(), "/task");
      ASSERT_TRUE(wait_until([&] {
        return std::distance(fs::directory_iterator(threads), fs::directory_iterator()) >= 3;
      }));
      ::kill(program.process(), signal);
      const auto began = Clock::now();
      const ProgramResult result = program.wait();
      EXPECT_LT(Clock::now() - began, std::chrono::seconds(20));  // 2, on a quiet machine
      EXPECT_EQ(result.code, 130) << rank << ": " << result.error;
      EXPECT_EQ(result.error, "hypenet: interrupted\n");
    }
  }
}

TEST_F(RanksTest, ranks_of_different_recipes_are_told_the_key) {
  const std::string run = concat(" " HYPENET_BINARY " convert --recipe ", HYPENET_SOURCE,
                                 "/recipes/tiny.json --out ", (folder_ / "out").string());
  const ProgramResult result =
      RunningProgram({"-c", concat(environment_of_rank(0), run, " & ", environment_of_rank(1), run,
                                   " --set distill.optimizer.rates.mlp=0.5; wait")},
                     "/bin/sh")
          .wait();
  EXPECT_NE(result.error.find("hypenet: rank 1 on "), std::string::npos) << result.error;
  EXPECT_NE(result.error.find("recipe: as the first rank has it: distill.optimizer.rates.mlp: "),
            std::string::npos)
      << result.error;
}

TEST_F(RanksTest, ranks_that_stop_after_different_steps_are_told_so) {
  const std::string run =
      concat(" " HYPENET_BINARY " convert --recipe ", HYPENET_SOURCE, "/recipes/tiny.json --out ",
             (folder_ / "out").string(), " --until ");
  const ProgramResult result =
      RunningProgram({"-c", concat(environment_of_rank(0), run, "transfer & ",
                                   environment_of_rank(1), run, "align; wait")},
                     "/bin/sh")
          .wait();
  EXPECT_NE(result.error.find("steps: as the first rank has it: --until: expected \"transfer\", "
                              "found \"align\"\n"),
            std::string::npos)
      << result.error;
}

TEST_F(RanksTest, bad_input_is_one_line) {
  const auto expect_refused = [&](const std::vector<std::string>& arguments,
                                  const std::string& text) {
    const ProgramResult result = run_program(arguments);
    EXPECT_EQ(result.code, 1) << text;
    EXPECT_NE(result.error.find(text), std::string::npos) << result.error;
    const size_t line = result.error.find("hypenet: ");
    EXPECT_EQ(result.error.find("hypenet: ", line + 1), std::string::npos) << result.error;
  };
  expect_refused(command("bad", "0"), "--ranks: expected a number from 1 to 4096, found \"0\"");
  expect_refused(command("bad", "all"), "--ranks all: expected --device cuda, found cpu");
  auto arguments = command("bad", "2");
  arguments.insert(arguments.end(), {"--set", "align.sequences=1"});
  expect_refused(arguments, "sequences: expected at least one for each of 2 ranks, found 1");

  EXPECT_EQ(RunningProgram({"-c", concat(environment_of_rank(0),
                                         " exec " HYPENET_BINARY " convert "
                                         "--recipe ",
                                         HYPENET_SOURCE, "/recipes/tiny.json --out ",
                                         (folder_ / "bad").string(), " --ranks 2")},
                           "/bin/sh")
                .wait()
                .error,
            "hypenet: --ranks: expected none beside RANK in the environment, where a launcher "
            "starts the ranks, found 2; see hypenet convert --help\n");
}

TEST_F(RanksTest, a_place_in_a_job_that_cannot_be_is_one_line) {
  const auto start = Clock::now();
  const ProgramResult nowhere = with_environment(
      "RANK=1 WORLD_SIZE=2 LOCAL_RANK=0 MASTER_ADDR=no-host.invalid MASTER_PORT=9");
  EXPECT_NE(nowhere.error.find("hypenet: MASTER_ADDR: expected a host whose address can be found, "
                               "found \"no-host.invalid\": "),
            std::string::npos)
      << nowhere.error;
  EXPECT_TRUE(nowhere.error.starts_with(
      "note: waiting up to 2 s for the address of MASTER_ADDR \"no-host.invalid\": "))
      << nowhere.error;
  EXPECT_GE(Clock::now() - start, std::chrono::seconds(2));
  EXPECT_LT(Clock::now() - start, std::chrono::seconds(30));
  for (const std::string address : {"", "300.1.2.3", "a host", "host:29500"}) {
    const ProgramResult never = with_environment(
        concat("RANK=1 WORLD_SIZE=2 LOCAL_RANK=0 MASTER_PORT=9 MASTER_ADDR='", address, "'"));
    EXPECT_EQ(never.code, 1);
    EXPECT_TRUE(never.error.starts_with(
        concat("hypenet: MASTER_ADDR: expected a host whose address can be found, found \"",
               address, "\": ")))
        << never.error;
  }
  const ProgramResult stale = with_environment(
      "HYPENET_PARENT=1 RANK=0 WORLD_SIZE=1 LOCAL_RANK=0 MASTER_ADDR=127.0.0.1 MASTER_PORT=9");
  EXPECT_EQ(stale.code, 1);
  EXPECT_TRUE(stale.error.starts_with(
      "hypenet: HYPENET_PARENT: expected the process that started this rank, "))
      << stale.error;
  EXPECT_NE(with_environment("RANK=1").error.find("WORLD_SIZE: expected it beside RANK"),
            std::string::npos);
  const ProgramResult lonely =
      with_environment("RANK=1 WORLD_SIZE=2 LOCAL_RANK=0 MASTER_ADDR=127.0.0.1 MASTER_PORT=9");
  EXPECT_EQ(lonely.code, 1);
  EXPECT_NE(lonely.error.find("127.0.0.1:9: expected the job's first rank, found nobody"),
            std::string::npos)
      << lonely.error;
}

}  // namespace
}  // namespace hypenet
