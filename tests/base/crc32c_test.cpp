// Published values, and sums in pieces.
#include "base/crc32c.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <string_view>
#include <vector>

namespace hypenet {
namespace {

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

// RFC 3720, B.4, and the check value of the catalogue of CRCs.
TEST(Crc32cTest, equals_published_values) {
  EXPECT_EQ(crc32c(bytes_of("123456789")), 0xE3069283U);
  EXPECT_EQ(crc32c(bytes_of(std::string(32, '\0'))), 0x8A9136AAU);
  EXPECT_EQ(crc32c(bytes_of(std::string(32, '\xFF'))), 0x62A8AB43U);
  EXPECT_EQ(crc32c({}), 0U);
}

TEST(Crc32cTest, goes_on_where_another_ended) {
  const std::string text = "a text of more than eight bytes, cut anywhere";
  for (size_t cut = 0; cut <= text.size(); ++cut) {
    const auto first = crc32c(bytes_of(text.substr(0, cut)));
    EXPECT_EQ(crc32c(bytes_of(text.substr(cut)), first), crc32c(bytes_of(text))) << cut;
  }
}

}  // namespace
}  // namespace hypenet
