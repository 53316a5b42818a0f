// hypenet tokenize: ids of a text, the text of ids, from options, a file and a pipe.
#include <gmock/gmock.h>

#include <filesystem>

#include "base/files.h"
#include "base/json.h"
#include "tests/support/program.h"

namespace hypenet {
namespace {

using testing::HasSubstr;
using testing_support::ProgramResult;
using testing_support::run_program;

std::string teacher() {
  return (std::filesystem::path(HYPENET_SOURCE) / "models" / "tiny-teacher").string();
}

TEST(TokenizeCommand, shows_ids_and_tokens_and_takes_ids_back) {
  const ProgramResult shown = run_program({"tokenize", teacher(), "--text", "a<|endoftext|>"});
  EXPECT_EQ(shown.code, 0) << shown.error;
  EXPECT_THAT(shown.out, HasSubstr("\t\"a\"\n0\t\"<|endoftext|>\"\n"));
  const ProgramResult back = run_program(
      {"tokenize", teacher(), "--decode", shown.out.substr(0, shown.out.find('\t')) + ", 0"});
  EXPECT_EQ(back.out, "a<|endoftext|>\n");
}

TEST(TokenizeCommand, writes_an_object_a_line) {
  const TemporaryFolder folder;
  write_file(folder / "text", "\U0001F980");
  const ProgramResult shown =
      run_program({"tokenize", teacher(), "--json", "--file", (folder / "text").string()});
  EXPECT_EQ(shown.code, 0) << shown.error;
  const Json first = Json::parse(shown.out.substr(0, shown.out.find('\n')));
  EXPECT_EQ(first["bytes"], "f0");
  EXPECT_EQ(first["text"], "\uFFFD");
  EXPECT_EQ(first["special"], false);
}

TEST(TokenizeCommand, ids_outside_the_vocabulary_are_refused) {
  for (const char* ids : {"4096", "-1", "1,x", "99999999999"}) {
    const ProgramResult shown = run_program({"tokenize", teacher(), "--decode", ids});
    EXPECT_EQ(shown.code, 1);
    EXPECT_THAT(shown.error, HasSubstr("--decode: expected ids from 0 to 4095, found ")) << ids;
  }
}

}  // namespace
}  // namespace hypenet
