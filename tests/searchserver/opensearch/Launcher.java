import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.opensearch.Version;
import org.opensearch.analysis.common.CommonAnalysisModulePlugin;
import org.opensearch.common.settings.Settings;
import org.opensearch.env.Environment;
import org.opensearch.http.HttpServerTransport;
import org.opensearch.index.mapper.MapperExtrasModulePlugin;
import org.opensearch.index.reindex.ReindexModulePlugin;
import org.opensearch.node.InternalSettingsPreparer;
import org.opensearch.node.Node;
import org.opensearch.painless.PainlessModulePlugin;
import org.opensearch.plugins.PluginInfo;
import org.opensearch.transport.Netty4ModulePlugin;

/** OpenSearch in this JVM, with the settings of CONFIG/opensearch.yml; ends when standard input does. */
class Launcher extends Node {
    private static final List<Class<?>> PLUGINS = List.of(
        Netty4ModulePlugin.class,
        CommonAnalysisModulePlugin.class,
        MapperExtrasModulePlugin.class,
        ReindexModulePlugin.class,
        PainlessModulePlugin.class);

    private Launcher(Environment environment) {
        super(environment, PLUGINS.stream().map(Launcher::info).toList(), true);
    }

    public static void main(String[] arguments) throws InterruptedException {
        Lifeline.hold(() -> start(Path.of(arguments[0])));
    }

    private static int start(Path config) throws Exception {
        // Wants a home before it has read its settings; only Elasticsearch makes do without.
        var home = Map.of("path.home", config.getParent().toString());
        var node = new Launcher(InternalSettingsPreparer.prepareEnvironment(
            Settings.EMPTY, home, config, () -> "pqaudit"));
        Lifeline.closeAtEnd(node);
        node.start();
        var http = node.injector().getInstance(HttpServerTransport.class);
        return http.boundAddress().publishAddress().getPort();
    }

    private static PluginInfo info(Class<?> plugin) {
        var name = plugin.getName();
        return new PluginInfo(name, "on the class path", "-", Version.CURRENT, "21", name, null, List.of(), false);
    }
}
