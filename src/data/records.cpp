// Records out of JSON lines, JSON arrays and Parquet.
#include "data/records.h"

#include <algorithm>
#include <string>
#include <string_view>

#include "data/byte_reader.h"
#include "data/json_lines.h"
#include "data/records_parquet.h"

namespace hypenet {
namespace {

using Use = std::function<bool(const Json& record)>;

/// use(json), with the place before what it may throw.
template <class Function>
auto call_at(const std::string& place, const Json& json, const Function& use) {
  try {
    return use(json);
  } catch (const Error& error) {
    throw Error(concat(place, ": ", error.what()));
  } catch (const Json::exception& error) {
    // "[json.exception.out_of_range.403] key 'answers' not found"
    const std::string_view text = error.what();
    throw Error(concat(place, ": expected other fields, found these (",
                       text.substr(std::min(text.find("] ") + 2, text.size())), ")"));
  }
}

bool use_at(const std::string& place, const Json& record, const Use& use) {
  HYPENET_CHECK(record.is_object(), place, ": expected an object, found ", json_kind(record));
  return call_at(place, record, use);
}

Json parse_line(const std::string& line, int64_t number, const std::string& file) {
  try {
    return parse_json(line, concat(file, ":", number));
  } catch (const Error&) {
    if (number == 1) check_first_line(line, file);
    throw;
  }
}

void use_lines(const std::filesystem::path& file, bool compressed, const Use& use) {
  ByteReader reader(file, compressed);
  for_each_line(reader, [&](const std::string& line, int64_t number) {
    if (is_blank(line)) return true;
    const std::string place = concat(file.string(), ":", number);
    return use_at(place, parse_line(line, number, file.string()), use);
  });
}

void use_array(const std::filesystem::path& file, const Use& use) {
  const Json records = read_json(file);
  HYPENET_CHECK(records.is_array(), file.string(), ": expected an array of objects, found ",
                json_kind(records));
  for (size_t i = 0; i < records.size(); ++i) {
    if (!use_at(concat(file.string(), ", record ", i + 1), records[i], use)) return;
  }
}

}  // namespace

void for_each_record(const std::filesystem::path& file, const Use& use) {
  const std::string name = file.filename().string();
  if (name.ends_with(".jsonl")) return use_lines(file, false, use);
  if (name.ends_with(".jsonl.gz")) return use_lines(file, true, use);
  if (name.ends_with(".json")) return use_array(file, use);
  HYPENET_CHECK(name.ends_with(".parquet"), file.string(),
                ": expected a file ending in .jsonl, .jsonl.gz, .json or .parquet, found another "
                "ending");
  for_each_parquet_record(file, [&](const Json& record, int64_t row) {
    return use_at(concat(file.string(), ", row ", row), record, use);
  });
}

void use_json(const std::filesystem::path& file, const std::function<void(const Json& json)>& use) {
  call_at(file.string(), read_json(file), use);
}

}  // namespace hypenet
