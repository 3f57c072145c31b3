//! What is kept for each of a few paths.

use crate::wire::Path;

/// Values by path, in order. It has no more room than it needs: most peers have one path or two, where a tree has room for
/// eleven.
pub(super) struct ByPath<V>(Vec<(Path, V)>);

impl<V> ByPath<V> {
    pub(super) fn new() -> Self {
        ByPath(Vec::new())
    }

    pub(super) fn get(&self, path: Path) -> Option<&V> {
        let at = self.find(path).ok()?;
        self.0.get(at).map(|(_, value)| value)
    }

    pub(super) fn get_mut(&mut self, path: Path) -> Option<&mut V> {
        let at = self.find(path).ok()?;
        self.0.get_mut(at).map(|(_, value)| value)
    }

    /// The value of a path, which is made if there is none.
    pub(super) fn get_or_insert_with(&mut self, path: Path, make: impl FnOnce() -> V) -> &mut V {
        let at = self.find(path).unwrap_or_else(|at| {
            self.0.reserve_exact(1);
            self.0.insert(at, (path, make()));
            at
        });
        &mut self.0[at].1
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Path, &V)> {
        self.0.iter().map(|(path, value)| (*path, value))
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (Path, &mut V)> {
        self.0.iter_mut().map(|(path, value)| (*path, value))
    }

    /// Keeps those that are wanted.
    pub(super) fn retain(&mut self, mut is_wanted: impl FnMut(Path, &mut V) -> bool) {
        self.0.retain_mut(|(path, value)| is_wanted(*path, value));
        self.0.shrink_to_fit();
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    fn find(&self, path: Path) -> Result<usize, usize> {
        self.0.binary_search_by_key(&path, |(path, _)| *path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::punch::tests::pair::direct;

    #[test]
    fn values_stand_in_the_order_of_their_paths() {
        let [first, second, third] = ["192.0.2.1:1", "192.0.2.2:1", "192.0.2.3:1"].map(direct);
        let mut values = ByPath::new();
        for (path, value) in [(second, 2), (third, 3), (first, 1), (second, 9)] {
            values.get_or_insert_with(path, || value);
        }
        assert_eq!(values.iter().collect::<Vec<_>>(), [(first, &1), (second, &2), (third, &3)]);
        values.retain(|path, _| path != second);
        assert_eq!((values.get(second), values.get(third), values.len()), (None, Some(&3), 2));
    }
}
