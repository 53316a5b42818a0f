// docs/serving-api.md shows the rows that requests are read by.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/files.h"
#include "serve/api/anthropic_form.h"
#include "serve/api/completion_form.h"
#include "tests/serve/fixture.h"

namespace hypenet {
namespace {

using ::testing::HasSubstr;

/// Without the rows that the endpoints share.
template <class Form>
Parameters<Form> own(Parameters<Form> rows) {
  std::erase_if(rows, [](const Parameter<Form>& row) {
    return std::ranges::any_of(shared_parameters(),
                               [&](const auto& shared) { return shared.name == row.name; });
  });
  return rows;
}

std::string error_table() {
  std::string table = "| status | type | codes |\n|---|---|---|";
  int status = 0;
  for (const ErrorRow& row : kErrorTable) {
    if (row.status != status) {
      const ApiError error(ErrorCode::of(row.code), "");
      table += concat(status == 0 ? "" : " |", "\n| ", row.status, " | `", error.type(), "` | `",
                      row.code, '`');
      status = row.status;
    } else {
      table += concat(", `", row.code, '`');
    }
  }
  return table + " |\n";
}

TEST(ServingApiPage, has_the_rows_that_are_read) {
  const std::string page =
      read_file(std::filesystem::path(HYPENET_SOURCE) / "docs" / "serving-api.md");
  EXPECT_THAT(page, HasSubstr(describe_parameters(shared_parameters())));
  EXPECT_THAT(page, HasSubstr(describe_parameters(own(chat_parameters()))));
  EXPECT_THAT(page, HasSubstr(describe_parameters(own(completion_parameters()))));
  EXPECT_THAT(page, HasSubstr(describe_parameters(anthropic_parameters())));
  EXPECT_THAT(page, HasSubstr(error_table()));
}

TEST(Parameters, each_field_has_one_row) {
  const auto expect_unique = [](const auto& rows) {
    std::set<std::string> names;
    for (const auto& row : rows) EXPECT_TRUE(names.insert(row.name).second) << row.name;
  };
  expect_unique(chat_parameters());
  expect_unique(completion_parameters());
  expect_unique(anthropic_parameters());
}

}  // namespace
}  // namespace hypenet
