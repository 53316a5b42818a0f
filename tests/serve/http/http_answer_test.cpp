// Heads and chunks of answers as text.
#include "serve/http/http_answer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace hypenet {
namespace {

using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

TEST(HttpAnswer, a_head_frames_its_body) {
  const HttpResponse response{404, {{"X-Id", "1"}}, "text/plain", "gone"};
  const std::string whole = answer_head(response, HttpFraming::kLength, true);
  EXPECT_THAT(whole, StartsWith("HTTP/1.1 404 Not Found\r\nDate: "));
  EXPECT_THAT(whole,
              HasSubstr(" GMT\r\nContent-Type: text/plain\r\nX-Id: 1\r\nContent-Length: 4\r\n"));
  EXPECT_THAT(whole, Not(HasSubstr("Connection")));
  EXPECT_THAT(whole, EndsWith("\r\n\r\n"));
  EXPECT_THAT(answer_head(response, HttpFraming::kChunks, true),
              HasSubstr("Transfer-Encoding: chunked\r\n"));
  EXPECT_THAT(answer_head(response, HttpFraming::kClose, false),
              HasSubstr("Connection: close\r\n"));
  EXPECT_THAT(answer_head({204, {}, "", ""}, HttpFraming::kLength, true),
              Not(HasSubstr("Content-")));
}

TEST(HttpAnswer, fields_cannot_end_the_head) {
  const std::string head =
      answer_head({200, {{"X", "a\r\nSet-Cookie: b\0c"}}, "", ""}, HttpFraming::kLength, true);
  EXPECT_THAT(head, HasSubstr("X: a  Set-Cookie: b"));
}

TEST(HttpAnswer, an_empty_chunk_is_none) {
  std::string out;
  append_chunk(out, "");
  append_chunk(out, std::string(17, 'x'));
  EXPECT_EQ(out, "11\r\nxxxxxxxxxxxxxxxxx\r\n");
}

}  // namespace
}  // namespace hypenet
