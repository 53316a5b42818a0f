// The published values of 64-bit FNV-1a.
#include "base/fnv1a.h"

#include <gtest/gtest.h>

namespace hypenet {
namespace {

std::string hash_of(std::string_view text) {
  Fnv1a hash;
  hash.add(text);
  return hash.hex();
}

TEST(Fnv1aTest, has_the_published_values) {
  EXPECT_EQ(hash_of(""), "cbf29ce484222325");
  EXPECT_EQ(hash_of("a"), "af63dc4c8601ec8c");
  EXPECT_EQ(hash_of("foobar"), "85944171f73967e8");
}

TEST(Fnv1aTest, bytes_beyond_ascii_are_no_negative_numbers) {
  Fnv1a hash;
  hash.add(uint64_t{0xFF});
  EXPECT_EQ(hash_of("\xFF"), hash.hex());
}

TEST(Fnv1aTest, parts_are_the_whole) {
  Fnv1a hash;
  hash.add("foo"), hash.add("bar");
  EXPECT_EQ(hash.hex(), hash_of("foobar"));
  EXPECT_EQ(hash.value(), 0x85944171f73967e8ULL);
}

}  // namespace
}  // namespace hypenet
