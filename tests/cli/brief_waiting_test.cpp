// How libgomp waits in the program, as it says itself when it is asked to show its environment.
#include <gmock/gmock.h>

#include "tests/support/program.h"

namespace hypenet {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using testing_support::RunningProgram;

/// What libgomp shows in a program that has these variables alone.
std::string shown_with(const std::string& variables) {
  RunningProgram program({"-c", "exec env -i OMP_DISPLAY_ENV=verbose " + variables + " " +
                                    std::string(HYPENET_BINARY) + " --version"},
                         "/bin/sh");
  const testing_support::ProgramResult result = program.wait();
  EXPECT_EQ(result.code, 0);
  return result.error;
}

TEST(BriefWaiting, is_told_to_libgomp_in_the_place_of_any_harmless_variable) {
  for (const char* variables : {"_=x", "PATH=/bin", "HOME=/", "LANG=C USER=me"}) {
    EXPECT_THAT(shown_with(variables), HasSubstr("GOMP_SPINCOUNT = '15000'")) << variables;
  }
}

TEST(BriefWaiting, leaves_a_users_own_choice_alone) {
  EXPECT_THAT(shown_with("HOME=/ GOMP_SPINCOUNT=7"), HasSubstr("GOMP_SPINCOUNT = '7'"));
  EXPECT_THAT(shown_with("HOME=/ OMP_WAIT_POLICY=passive"), HasSubstr("GOMP_SPINCOUNT = '0'"));
  EXPECT_THAT(shown_with("HOME=/ OMP_WAIT_POLICY=active"),
              AllOf(HasSubstr("OMP_WAIT_POLICY = 'ACTIVE'"), Not(HasSubstr("'15000'"))));
}

TEST(BriefWaiting, is_libgomps_own_where_no_variable_lends_its_place) {
  EXPECT_THAT(shown_with("LANG=C"), Not(HasSubstr("'15000'")));
}

}  // namespace
}  // namespace hypenet
