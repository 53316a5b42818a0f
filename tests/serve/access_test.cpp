// Who is let in, and who is not.
#include "serve/access.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/files.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"

namespace hypenet {
namespace {

using testing::HasSubstr;

HttpRequest asking(std::vector<HttpHeader> headers) {
  HttpRequest request;
  request.headers = std::move(headers);
  return request;
}

/// The code of the refusal; empty: none.
template <class Function>
std::string refusal(const Function& ask) {
  try {
    ask();
    return "";
  } catch (const ApiError& error) {
    return std::string(error.code());
  }
}

TEST(AccessTest, on_loopback_only_names_of_this_machine_are_hosts) {
  AccessRules rules{.host = "127.0.0.1", .allowed_hosts = {"box.lan"}};
  const auto host = [&](const char* name) {
    return refusal([&] { check_browser(rules, asking({{"Host", name}})); });
  };
  for (const char* name :
       {"localhost", "localhost:8080", "127.0.0.1:1", "[::1]:80", "LOCALHOST", "box.lan:9"}) {
    EXPECT_EQ(host(name), "") << name;
  }
  for (const char* name :
       {"evil.example", "evil.example:8080", "localhost.evil.example", "[::2]"}) {
    EXPECT_EQ(host(name), "host_not_allowed") << name;
  }
  rules.host = "0.0.0.0";
  EXPECT_EQ(host("evil.example"), "");
}

TEST(AccessTest, pages_of_other_places_are_refused_unless_allowed) {
  AccessRules rules{.host = "127.0.0.1", .cors_origins = {"https://app.example"}};
  const auto origin = [&](const char* name) {
    return refusal([&] {
      check_browser(rules, asking({{"Host", "localhost:8080"}, {"Origin", name}}));
    });
  };
  EXPECT_EQ(origin("http://localhost:8080"), "");
  EXPECT_EQ(origin("https://app.example"), "");
  EXPECT_EQ(origin("http://localhost:9090"), "origin_not_allowed");
  EXPECT_EQ(origin("null"), "origin_not_allowed");
  rules.cors_origins = {"*"};
  EXPECT_EQ(origin("https://anything.example"), "");
}

TEST(AccessTest, an_allowed_page_is_named_and_credentials_never_are) {
  const AccessRules rules{.host = "127.0.0.1", .cors_origins = {"https://app.example"}};
  const auto answer =
      preflight_answer(rules, asking({{"Host", "localhost"}, {"Origin", "https://app.example"}}));
  EXPECT_EQ(answer.status, 204);
  bool names_origin = false;
  for (const auto& [name, value] : answer.headers) {
    names_origin |= name == "Access-Control-Allow-Origin" && value == "https://app.example";
    EXPECT_NE(name, "Access-Control-Allow-Credentials");
  }
  EXPECT_TRUE(names_origin);
  EXPECT_TRUE(cors_headers(rules, asking({{"Origin", "https://other.example"}})).empty());
}

class ApiKeysTest : public testing::Test {
 protected:
  ApiKeys keys(const std::string& text) {
    write_file(folder_ / "keys", text);
    return ApiKeys::read(folder_ / "keys");
  }

  TemporaryFolder folder_;
};

TEST_F(ApiKeysTest, keys_have_names) {
  const ApiKeys known = keys("# ours\nalice:sesame\n\n  plain \r\n");
  EXPECT_EQ(known.name_of("sesame"), "alice");
  EXPECT_EQ(known.name_of("plain"), "key 4");
  EXPECT_EQ(known.name_of("alice:sesame"), std::nullopt);
  EXPECT_EQ(known.name_of(""), std::nullopt);
  EXPECT_EQ(known.name_of("sesam"), std::nullopt);
}

TEST_F(ApiKeysTest, a_file_without_keys_is_an_error) {
  EXPECT_ERROR(keys("# none\n"), "expected a key a line, found none");
  EXPECT_ERROR(keys("alice:\n"), "keys:1: expected a key, found none");
}

TEST_F(ApiKeysTest, both_headers_carry_one) {
  const AccessRules rules{.host = "127.0.0.1", .keys = keys("alice:sesame\n")};
  EXPECT_EQ(key_name(rules, asking({{"Authorization", "Bearer sesame"}})), "alice");
  EXPECT_EQ(key_name(rules, asking({{"authorization", "bearer  sesame"}})), "alice");
  EXPECT_EQ(key_name(rules, asking({{"X-API-Key", "sesame"}})), "alice");
  const auto refused = [&](std::vector<HttpHeader> headers) {
    return refusal([&] { key_name(rules, asking(std::move(headers))); });
  };
  EXPECT_EQ(refused({}), "invalid_api_key");
  EXPECT_EQ(refused({{"Authorization", "Basic sesame"}}), "invalid_api_key");
  EXPECT_EQ(refused({{"Authorization", "Bearer other"}}), "invalid_api_key");
  EXPECT_EQ(key_name({.host = "127.0.0.1"}, asking({})), "");
}

}  // namespace
}  // namespace hypenet
