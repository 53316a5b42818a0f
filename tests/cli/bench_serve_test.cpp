// hypenet bench serve against a server without a model.
#include <gmock/gmock.h>

#include "base/json.h"
#include "tests/serve/load/fake_api.h"
#include "tests/support/program.h"
#include "tests/support/temporary_folder.h"

namespace hypenet {
namespace {

using testing::AllOf;
using testing::ContainsRegex;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;
using testing_support::ProgramResult;
using testing_support::run_program;

TEST(BenchServe, prints_the_table_and_writes_json) {
  FakeApi api;
  const TemporaryFolder folder;
  const std::string file = folder / "figures.json";
  const ProgramResult result =
      run_program({"bench", "serve", api.url(), "--clients", "2", "--requests", "6",
                   "--prompt-tokens", "8:16", "--answer-tokens", "4", "--shared-prefix", "30",
                   "--goodput", "ttft:60000", "tpot:60000", "--json", file});
  EXPECT_EQ(result.code, 0) << result.error;
  EXPECT_THAT(
      result.out,
      AllOf(StartsWith("============ Serving Benchmark Result ============\n"
                       "Successful requests:                     6\n"
                       "Failed requests:                         0\n"
                       "Maximum request concurrency:             2\n"),
            ContainsRegex("Total generated tokens: +24\n"), HasSubstr("Request goodput (req/s):"),
            HasSubstr("---------------Time to First Token----------------\nMean TTFT (ms):  "),
            ContainsRegex("Reused tokens: +[0-9]+\nHit share"),
            HasSubstr("Server CPU (s a 1,000")));
  const Json figures = read_json(file);
  EXPECT_EQ(figures.at("completed"), 6);
  EXPECT_EQ(figures.at("total_output_tokens"), 24);
  EXPECT_GE(figures.at("reused_tokens"), 6 * 30);
}

TEST(BenchServe, takes_requests_from_lines) {
  FakeApi api;
  const TemporaryFolder folder;
  const std::string file = folder / "lines.jsonl";
  write_file(file, "{\"prompt\": \"Hello\", \"answer_tokens\": 2}\n{\"prompt_tokens\": 3}\n");
  const ProgramResult result = run_program({"bench", "serve", api.url(), "--endpoint", "chat",
                                            "--lines", file, "--warm-up", "0", "--clients", "1"});
  EXPECT_EQ(result.code, 0) << result.error;
  const std::vector<Json> bodies = api.bodies();
  ASSERT_EQ(bodies.size(), 2U);
  EXPECT_EQ(bodies[0]["messages"][0]["content"], "Hello");
  EXPECT_EQ(bodies[0]["max_tokens"], 2);
  EXPECT_EQ(bodies[1]["max_tokens"], 128);
}

TEST(BenchServe, wrong_requests_are_one_line) {
  FakeApi api;
  const auto error_of = [&](std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {"bench", "serve"});
    const ProgramResult result = run_program(arguments);
    EXPECT_EQ(result.code, 1);
    EXPECT_THAT(result.out, IsEmpty());
    EXPECT_EQ(std::ranges::count(result.error, '\n'), 1) << result.error;
    return result.error;
  };
  EXPECT_EQ(error_of({"https://a"}),
            "hypenet: URL: expected http://HOST:PORT, found \"https://a\"\n");
  EXPECT_EQ(error_of({api.url(), "--prompt-tokens", "5:3"}),
            "hypenet: --prompt-tokens: expected FIRST:LAST upwards, found \"5:3\"\n");
  EXPECT_EQ(error_of({api.url(), "--requests", "0"}),
            "hypenet: --requests: expected 1 or more, found 0\n");
  EXPECT_EQ(error_of({api.url(), "--goodput", "itl:5"}),
            "hypenet: --goodput: expected ttft:MS, tpot:MS or e2el:MS, found \"itl:5\"\n");
  EXPECT_THAT(error_of({"http://127.0.0.1:1"}), HasSubstr("127.0.0.1:1: Connection refused"));
}

}  // namespace
}  // namespace hypenet
