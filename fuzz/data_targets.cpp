// Targets of the room data: documents, records and token shards.
#include "data/documents.h"
#include "data/records.h"
#include "data/token_shard.h"
#include "fuzz/target.h"

namespace hypenet::fuzz {
namespace {

/// The same bytes under each of these names, as documents or as records.
void read_as_documents(std::initializer_list<const char*> names, std::string_view bytes) {
  for (const char* name : names) {
    const auto file = put(name, bytes);
    attempt([&] { for_each_document(file, "text", [](std::string_view) { return true; }); });
  }
}

void read_as_records(std::initializer_list<const char*> names, std::string_view bytes) {
  for (const char* name : names) {
    const auto file = put(name, bytes);
    attempt([&] { for_each_record(file, [](const Json& record) { return record.size() < 99; }); });
  }
}

}  // namespace

void read_documents(std::string_view input) {
  read_as_documents({"documents.jsonl", "documents.txt"}, input);
}

void read_gzip(std::string_view input) {
  read_as_documents({"documents.jsonl.gz", "documents.txt.gz"}, input);
  read_as_records({"records.jsonl.gz"}, input);
}

void read_parquet(std::string_view input) {
  read_as_documents({"documents.parquet"}, input);
  read_as_records({"records.parquet"}, input);
}

void read_records(std::string_view input) { read_as_records({"r.jsonl", "r.json"}, input); }

/// dataset.json --- tokens-00000.bin
void read_shards(std::string_view input) {
  const auto part = parts(input, 2);
  put("dataset.json", part[0]);
  put("tokens-00000.bin", part[1]);
  TokenDataset dataset(folder());
  std::vector<int32_t> tokens(static_cast<size_t>(std::min<int64_t>(dataset.tokens(), 64)));
  dataset.read(dataset.tokens() - 1, tokens);
  dataset.hold_out(1);
}

}  // namespace hypenet::fuzz
