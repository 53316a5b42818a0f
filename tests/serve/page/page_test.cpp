// What is built into the program of the page; tests/e2e/page_test.py opens it in a browser.
#include "serve/page/page.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <string>

namespace hypenet {
namespace {

using testing::ContainsRegex;
using testing::HasSubstr;
using testing::Not;

TEST(Page, is_the_file_byte_for_byte) {
  std::ifstream file(HYPENET_SOURCE "/src/serve/page/index.html", std::ios::binary);
  const std::string text(std::istreambuf_iterator<char>(file), {});
  EXPECT_EQ(page(), text);
  EXPECT_LT(page().size(), 120'000);
}

TEST(Page, policy_allows_one_script_one_style_and_this_server) {
  const std::string policy(page_policy());
  const std::string hash = "'sha256-[A-Za-z0-9+/]{43}='";
  EXPECT_THAT(policy, ContainsRegex("script-src " + hash + ";"));
  EXPECT_THAT(policy, ContainsRegex("style-src " + hash + ";"));
  EXPECT_THAT(policy, HasSubstr("default-src 'none'"));
  EXPECT_THAT(policy, HasSubstr("connect-src 'self'"));
  EXPECT_THAT(policy, Not(HasSubstr("unsafe")));
  EXPECT_EQ(policy.find('\n'), std::string::npos);
}

}  // namespace
}  // namespace hypenet
