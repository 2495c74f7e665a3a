import java.io.IOException;
import java.io.OutputStream;
import java.util.concurrent.Callable;

/** Starts a server, says its port, and ends it with standard input: the tests hold the other end, and let go however they end. */
class Lifeline {
    static void hold(Callable<Integer> start) throws InterruptedException {
        var watch = new Thread(() -> {
            try {
                System.in.transferTo(OutputStream.nullOutputStream());
            } catch (IOException e) {
                // As good as its end.
            }
            System.exit(0);
        });
        watch.setDaemon(true);
        watch.start();
        try {
            System.out.println("\nlistening on " + start.call());
        } catch (Throwable e) {
            e.printStackTrace();
            System.exit(1);
        }
        watch.join();
    }

    static void closeAtEnd(AutoCloseable node) {
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            try {
                node.close();
            } catch (Exception e) {
                e.printStackTrace();
            }
        }));
    }
}
