// Completion scripts say what the program's own definition says, in each shell's form; bash's is
// run.
#include "cli/completions.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/files.h"
#include "cli/commands.h"
#include "tests/support/expect_error.h"
#include "tests/support/program.h"

namespace hypenet {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

/// A program of three commands, one of them hidden, one with a command of its own.
class Completions : public testing::Test {
 protected:
  Completions() {
    app_.set_version_flag("--version", "1");
    CLI::App* convert = app_.add_subcommand("convert", "turn a model: it's\nlong");
    convert->add_option("--out,-o", text_, "where the folder's put");
    convert->add_option("--bad", text_, "what to do")->check(CLI::IsMember({"skip", "fail"}));
    convert->add_option("DIR", text_, "a folder");
    app_.add_subcommand("bench", "measure")
        ->add_subcommand("decode", "ms")
        ->add_flag("--json", flag_, "as");
    app_.add_subcommand("secret", "hidden")->group("");
  }
  std::string script(const char* shell) const {
    return completion_script(completed_commands(app_), shell);
  }

  /// What bash completes behind these words.
  std::string completed(const std::string& words, int last) const {
    const TemporaryFolder folder;
    write_file(folder / "script", script("bash") + "COMP_WORDS=(" + words +
                                      ") COMP_CWORD=" + std::to_string(last) +
                                      "\n_hypenet\necho \"${COMPREPLY[@]}\"\n");
    return testing_support::RunningProgram({"--norc", folder / "script"}, "/bin/bash").wait().out;
  }

  CLI::App app_{"a program"};
  std::string text_;
  bool flag_ = false;
};

TEST_F(Completions, commands_and_options_are_the_definitions) {
  const auto commands = completed_commands(app_);
  ASSERT_EQ(commands.size(), 4) << "without the hidden one";
  EXPECT_THAT(commands[0].commands, ElementsAre("convert", "bench"));
  const CompletedCommand& convert = commands[1];
  EXPECT_EQ(convert.about, "turn a model: it's long");
  ASSERT_EQ(convert.options.size(), 3) << "positional words are no options";
  EXPECT_THAT(convert.options[1].names, ElementsAre("--out", "-o"));
  EXPECT_TRUE(convert.options[1].takes_value);
  EXPECT_THAT(convert.options[2].choices, ElementsAre("skip", "fail"));
  EXPECT_FALSE(convert.options[0].takes_value) << "--help";
  EXPECT_EQ(commands[3].path, "bench/decode");
}

TEST_F(Completions, bash_completes_what_stands_there) {
  EXPECT_EQ(completed("hypenet ''", 1), "convert bench\n");
  EXPECT_EQ(completed("hypenet con", 1), "convert\n");
  EXPECT_EQ(completed("hypenet convert --", 2), "--help --out --bad\n");
  EXPECT_EQ(completed("hypenet convert --bad ''", 3), "skip fail\n");
  EXPECT_EQ(completed("hypenet convert --out ''", 3), "\n") << "files, which bash completes itself";
  EXPECT_EQ(completed("hypenet bench d", 2), "decode\n");
  EXPECT_EQ(completed("hypenet bench decode --j", 3), "--json\n");
}

TEST_F(Completions, zsh_and_fish_get_the_texts) {
  EXPECT_THAT(script("zsh"), HasSubstr("'convert:turn a model: it'\\''s long'"));
  EXPECT_THAT(script("zsh"), HasSubstr("convert:--bad) choices=(skip fail) ;;"));
  EXPECT_THAT(script("fish"), HasSubstr(" -l out -s o -r -d 'where the folder\\'s put'"));
  EXPECT_THAT(script("fish"), HasSubstr(" -l bad -x -a 'skip fail' -d 'what to do'"));
  for (const char* shell : {"bash", "zsh", "fish"})
    EXPECT_THAT(script(shell), Not(HasSubstr("secret")));
  EXPECT_ERROR(script("csh"), "completions: expected bash, zsh or fish, found \"csh\"");
}

TEST(CompletionsProgram, prints_a_script_and_is_listed_nowhere) {
  const auto result = testing_support::run_program({"completions", "bash"});
  EXPECT_EQ(result.code, 0) << result.error;
  EXPECT_THAT(result.out, HasSubstr("      /convert) command=convert ;;\n"));
  EXPECT_THAT(result.out, HasSubstr("      bench/decode) command=bench/decode ;;\n"));
  EXPECT_THAT(testing_support::run_program({"--help"}).out, Not(HasSubstr("completions")));
  EXPECT_THAT(testing_support::run_program({"--version", "x"}).error,
              Not(HasSubstr("completions")));
}

}  // namespace
}  // namespace hypenet
