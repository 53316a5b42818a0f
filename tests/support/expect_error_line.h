// A check that the program refused something in one line.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "tests/support/program.h"

namespace hypenet::testing_support {

/// Exit code 1, and `text` in the only line of standard error.
inline void expect_error_line(const ProgramResult& result, const std::string& text) {
  EXPECT_EQ(result.code, 1);
  EXPECT_THAT(result.error, testing::HasSubstr(text));
  EXPECT_EQ(result.error.find('\n'), result.error.size() - 1) << result.error;
}

}  // namespace hypenet::testing_support
