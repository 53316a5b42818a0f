# Parquet is optional: with the pyarrow wheel in .venv its Arrow C++ libraries are used.
set(HYPENET_PARQUET_TARGET "")
