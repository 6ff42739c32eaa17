//! A metadata server for laptops and tests.
